// The doctor's own end. Whatever hangs (MPI_Init, a peer, a file server), a thread ends this process with 69 when its
// time is up, and one rank of each host says what all ranks there were doing and which of them is behind.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "runtime/comm/communicator.h"
#include "runtime/doctor/board.h"

namespace shardora {

class Deadline {
 public:
  // `rank` as the launcher says it: MPI is not up yet.
  Deadline(double seconds, int rank);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  // What this rank does now. All ranks come to the same tests in the same order.
  void at(std::string_view test);
  std::string current() const;
  // Collective over the ranks of a host: from now on they see each other's tests. `rank` is the world's.
  void share(Communicator& host, int rank);

 private:
  void watch();
  [[noreturn]] void expire();

  const double seconds_;
  const int rank_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::int64_t tests_ = 0;
  std::string current_ = "the start of MPI";
  std::unique_ptr<Board> board_;
  bool shared_ = false;  // the board is of all ranks of this host
  std::thread thread_;
};

}  // namespace shardora
