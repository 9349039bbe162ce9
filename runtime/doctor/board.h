// A board in memory that the ranks of a host share: what each of them does, since when. Written by its rank, read by
// whoever reports. Until the ranks have met, a board of one place.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/comm/communicator.h"

namespace shardora {

struct RankDoing {
  int rank = 0;
  std::int64_t process = 0;
  std::int64_t tests = 0;  // that it has come to
  std::string test;        // the last of them
  double seconds = 0;      // since it came to it
  bool stopped = false;    // by a signal or a debugger, as the kernel says
};

class Board {
 public:
  explicit Board(int rank);
  // Collective over `host`. Where no memory can be shared, a board of one again.
  Board(Communicator& host, int rank);
  ~Board();
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  void write(std::string_view test, std::int64_t tests);
  std::vector<RankDoing> read() const;
  // True for one of the ranks that ask.
  bool first_to_report();

 private:
  struct Place;
  void take_place(int index, int rank);

  Place* places_ = nullptr;
  std::size_t count_ = 1;
  std::size_t mine_ = 0;
};

// Who is behind and what to look at, in one line: the words of the report.
std::string describe(const std::vector<RankDoing>& ranks, const std::string& host);

}  // namespace shardora
