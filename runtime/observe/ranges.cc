// The one file that knows NVTX: headers alone, of the CUDA toolkit; a profiler that is there brings the code.
#include "runtime/observe/ranges.h"

#include <fmt/format.h>

#include <array>

#include "kernels/check.h"

#ifdef SHARDORA_CUDA
#include <nvtx3/nvToolsExt.h>
#endif

namespace shardora {

#ifdef SHARDORA_CUDA

namespace {

// The profiler copies the text; a longer one is cut.
using Name = std::array<char, 64>;

void push(const Name& name) { nvtxRangePushA(name.data()); }

}  // namespace

void require_profiler_ranges(bool) {}

void ProfilerRange::begin(std::string_view name) {
  Name text{};
  fmt::format_to_n(text.begin(), text.size() - 1, "{}", name);
  push(text);
}

void ProfilerRange::begin(std::string_view name, std::int64_t index) {
  Name text{};
  fmt::format_to_n(text.begin(), text.size() - 1, "{} {}", name, index);
  push(text);
}

void ProfilerRange::end() noexcept { nvtxRangePop(); }

#else

void require_profiler_ranges(bool wanted) {
  if (!wanted) return;
  refuse(
      ExitStatus::kUnavailable,
      "train.profile_ranges = true: found a program built without CUDA, needed one with it, whose toolkit brings the "
      "ranges (NVTX); build with cmake --preset cuda, or set train.profile_ranges = false");
}

// Nothing can show them: require_profiler_ranges() has refused what would come here.
void ProfilerRange::begin(std::string_view) {}
void ProfilerRange::begin(std::string_view, std::int64_t) {}
void ProfilerRange::end() noexcept {}

#endif

}  // namespace shardora
