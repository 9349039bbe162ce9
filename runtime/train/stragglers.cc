#include "runtime/train/stragglers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace shardora {

std::optional<Straggler> find_straggler(std::span<const double> seconds_of_ranks) {
  if (seconds_of_ranks.size() < 2) return std::nullopt;
  std::vector<double> sorted(seconds_of_ranks.begin(), seconds_of_ranks.end());
  std::sort(sorted.begin(), sorted.end());
  const double median = sorted[(sorted.size() - 1) / 2];
  const auto slowest = std::max_element(seconds_of_ranks.begin(), seconds_of_ranks.end());
  if (median <= 0 || *slowest <= kSlow * median) return std::nullopt;
  return Straggler{.rank = static_cast<int>(slowest - seconds_of_ranks.begin()), .ratio = *slowest / median};
}

std::optional<std::string> StragglerWatch::step(Communicator& world, double own_seconds) {
  seconds_ += own_seconds;
  if (world.size() == 1 || ++steps_ < kSteps) return std::nullopt;
  std::vector<double> all(static_cast<std::size_t>(world.size()));
  all[static_cast<std::size_t>(world.rank())] = std::exchange(seconds_, 0);
  steps_ = 0;
  world.host().all_reduce(view_of(std::span(all), {world.size()}), Reduction::kSum, Event{});
  const std::optional<Straggler> slow = find_straggler(all);
  const int rank = slow ? slow->rank : -1;
  windows_ = rank >= 0 && rank == slow_rank_ ? windows_ + 1 : 1;
  slow_rank_ = rank;
  if (rank < 0 || windows_ != kWindows) return std::nullopt;
  return fmt::format(
      "rank {} is slow: its own work takes {:.1f} times that of the rank in the middle, over the last {} "
      "steps; the others wait for it: look at its host",
      rank, slow->ratio, kSteps * kWindows);
}

}  // namespace shardora
