// What each rank of a host does, since when, as its peers see it: read from the board that all ranks of a host have
// from their first moment on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/comm/host_board.h"

namespace shardora {

struct RankDoing {
  int rank = 0;
  std::int64_t process = 0;
  std::int64_t tests = 0;  // that it has come to
  std::string test;        // the last of them
  double seconds = 0;      // since it came to it
  bool stopped = false;    // by a signal or a debugger, as the kernel says
};

// Of those of `ranks` ranks that have come to the board.
std::vector<RankDoing> read_doings(HostBoard& board, int ranks);
// Who is behind and what to look at, in one line: the words of the report.
std::string describe(const std::vector<RankDoing>& ranks, const std::string& host);

}  // namespace shardora
