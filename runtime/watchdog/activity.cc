#include "runtime/watchdog/activity.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/system/proc.h"

namespace shardora {

std::vector<RankActivity> read_activities(HostBoard& board, int ranks) {
  std::vector<RankActivity> activities;
  for (int rank = 0; rank < ranks; ++rank) {
    RankState state;
    if (!board.slot(rank).read(state)) continue;
    const char kernel_state = process_stat(state.process).state;
    activities.push_back({.rank = rank,
                          .process = state.process,
                          .count = state.activities,
                          .activity = state.activity.data(),
                          .seconds = monotonic_seconds() - state.activity_at,
                          .stopped = kernel_state == 'T' || kernel_state == 't'});
  }
  return activities;
}

std::string describe(const std::vector<RankActivity>& ranks, const std::string& host) {
  std::int64_t most = 0;
  for (const RankActivity& one : ranks) most = std::max(most, one.count);
  std::string text, behind;
  for (const RankActivity& one : ranks) {
    text += fmt::format("{}rank {} was at '{}' for {:.1f} s", text.empty() ? "" : ", ", one.rank, one.activity,
                        one.seconds);
    if (one.stopped) text += fmt::format(" and process {} is stopped", one.process);
    if (one.count < most || one.stopped) behind += fmt::format("{}{}", behind.empty() ? "" : ", ", one.rank);
  }
  const std::string advice =
      behind.empty() ? "none is behind: another host, the network or a server of files does not answer"
                     : "behind is rank " + behind + ": look at that process (kill -CONT wakes a stopped one)";
  return fmt::format("on host {}: {}; {}", host, text, advice);
}

}  // namespace shardora
