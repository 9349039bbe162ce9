// What each rank of a host does, and since when, as its peers see it on the host's board.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/watchdog/host_board.h"

namespace shardora {

struct RankActivity {
  int rank = 0;
  std::int64_t process = 0;
  std::int64_t count = 0;  // of the activities that it has begun
  std::string activity;    // the latest of them
  double seconds = 0;      // since it began that
  bool stopped = false;    // by a signal or a debugger, from /proc
};

// Of those of `ranks` ranks that are on the board.
std::vector<RankActivity> read_activities(HostBoard& board, int ranks);
// Who is behind and what to look at, in one line.
std::string describe(const std::vector<RankActivity>& ranks, const std::string& host);

}  // namespace shardora
