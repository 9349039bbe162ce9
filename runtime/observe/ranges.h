// Named stretches of the host's work that NVIDIA's profiler shows above what they have queued on the device:
//
//   const ProfilerRange range(train.profile_ranges, "layer backward", layer);
//
// Ranges of a thread nest as scopes do. Off, one costs a branch; on, without a profiler, some nanoseconds.
#pragma once

#include <cstdint>
#include <string_view>

namespace shardora {

// Throws Error(kUnavailable) where ranges are wanted and this program was built without them.
void require_profiler_ranges(bool wanted);

class ProfilerRange {
 public:
  ProfilerRange(bool on, std::string_view name) : on_(on) {
    if (on_) begin(name);
  }
  ProfilerRange(bool on, std::string_view name, std::int64_t index) : on_(on) {
    if (on_) begin(name, index);
  }
  ~ProfilerRange() {
    if (on_) end();
  }
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;

 private:
  static void begin(std::string_view name);
  static void begin(std::string_view name, std::int64_t index);
  static void end() noexcept;
  bool on_;
};

}  // namespace shardora
