#include "runtime/jobs/doctor/doings.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "runtime/system/proc.h"

namespace shardora {

std::vector<RankDoing> read_doings(HostBoard& board, int ranks) {
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::vector<RankDoing> doings;
  for (int rank = 0; rank < ranks; ++rank) {
    RankState state;
    if (!board.slot(rank).read(state)) continue;
    const char letter = process_stat(state.process).state;
    doings.push_back({.rank = rank,
                      .process = state.process,
                      .tests = state.progress,
                      .test = state.place.data(),
                      .seconds = static_cast<double>(now - state.since) / 1e9,
                      .stopped = letter == 'T' || letter == 't'});
  }
  return doings;
}

std::string describe(const std::vector<RankDoing>& ranks, const std::string& host) {
  std::int64_t most = 0;
  for (const RankDoing& one : ranks) most = std::max(most, one.tests);
  std::string text, behind;
  for (const RankDoing& one : ranks) {
    text +=
        fmt::format("{}rank {} was at '{}' for {:.1f} s", text.empty() ? "" : ", ", one.rank, one.test, one.seconds);
    if (one.stopped) text += fmt::format(" and process {} is stopped", one.process);
    if (one.tests < most || one.stopped) behind += fmt::format("{}{}", behind.empty() ? "" : ", ", one.rank);
  }
  const std::string advice =
      behind.empty() ? "none is behind: another host, the network or a server of files does not answer"
                     : "behind is rank " + behind + ": look at that process (kill -CONT wakes a stopped one)";
  return fmt::format("on host {}: {}; {}", host, text, advice);
}

}  // namespace shardora
