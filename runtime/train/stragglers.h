// Finds a rank that is slow for long: its own work, without what it waits for its peers, takes much longer than that of
// the rank in the middle.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "runtime/comm/communicator.h"

namespace shardora {

// The rank whose seconds are the most, where they are more than kSlow times the lower median's.
inline constexpr double kSlow = 1.5;
struct Straggler {
  int rank = 0;
  double ratio = 1;  // of its seconds to the median's
};
std::optional<Straggler> find_straggler(std::span<const double> seconds_of_ranks);

class StragglerWatch {
 public:
  static constexpr int kSteps = 32;   // of a window: one small collective each
  static constexpr int kWindows = 3;  // in a row in which one rank is slow, before that is said

  // A step of this rank. Collective over the world at each window's end; then, once for each rank, what is to be said
  // of it, on all ranks alike.
  std::optional<std::string> step(Communicator& world, double own_seconds);

 private:
  double seconds_ = 0;
  int steps_ = 0, windows_ = 0, slow_rank_ = -1;
};

}  // namespace shardora
