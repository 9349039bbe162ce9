// What a rank publishes about itself for the watchdogs of its peers, and a slot of shared memory that holds it: one
// writer, any number of readers in other processes, no lock that a dead or frozen process could keep.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/comm/collective_observer.h"

namespace shardora {

// Trivially copyable, so that a slot or a message can carry it.
struct RankState {
  std::int64_t process = 0;     // its number on its host
  std::int64_t progress = 0;    // differs where the rank has moved on
  std::int64_t waiting = -1;    // the GroupKind in whose collective it is; -1: in none
  std::int64_t starts = 1;      // MPI and NCCL are still starting
  std::int64_t activities = 0;  // that it has begun
  double entered_at = 0;        // the latest collective: on this host's monotonic clock, in seconds
  double activity_at = 0;       // the activity
  std::array<std::int64_t, kGroupKinds> lowest{-1, -1, -1,
                                               -1, -1, -1};  // the lowest world rank of each group; -1: none
  std::array<std::int64_t, kGroupKinds> entered{};           // collectives of each group, counted from 1
  std::array<char, 64> operation{};                          // the latest collective, in words; ends in 0
  std::array<char, 64> activity{};                           // what the rank does ("step 12"); ends in 0
};

template <std::size_t N>
void put_text(std::array<char, N>& to, std::string_view text) {
  to = {};
  text.copy(to.data(), N - 1);
}

// Zeros, as fresh shared memory has them, are an empty slot.
class StateSlot {
 public:
  // By one thread at a time.
  void write(const RankState& state) {
    const auto words = std::bit_cast<Words>(state);
    const std::uint64_t version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);  // odd: being written
    for (std::size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_release);
    version_.store(version + 2, std::memory_order_release);
  }
  // False where nothing was written yet, or a writer stands still halfway; `state` is then left alone.
  bool read(RankState& state) const {
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
      const std::uint64_t version = version_.load(std::memory_order_acquire);
      if (version == 0) return false;
      Words words{};
      for (std::size_t w = 0; w < kWords; ++w) words[w] = words_[w].load(std::memory_order_acquire);
      if (version % 2 == 1 || version_.load(std::memory_order_relaxed) != version) continue;
      state = std::bit_cast<RankState>(words);
      return true;
    }
    return false;
  }
  // By the watchdog of the process.
  void beat() { heartbeat_.fetch_add(1, std::memory_order_relaxed); }
  std::uint64_t heartbeat() const { return heartbeat_.load(std::memory_order_relaxed); }
  void clear() {
    version_.store(0);
    heartbeat_.store(0);
  }

 private:
  static constexpr std::size_t kWords = sizeof(RankState) / sizeof(std::uint64_t);
  static_assert(sizeof(RankState) % sizeof(std::uint64_t) == 0);
  using Words = std::array<std::uint64_t, kWords>;

  std::atomic<std::uint64_t> version_{0}, heartbeat_{0};
  std::array<std::atomic<std::uint64_t>, kWords> words_{};
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
};

}  // namespace shardora
