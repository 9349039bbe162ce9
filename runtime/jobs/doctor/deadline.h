// The doctor's own end. Whatever hangs (MPI_Init, a peer, a file server), a thread ends this process with 69 when its
// time is up, and one rank of each host says what all ranks there were doing and which of them is behind.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "runtime/comm/communicator.h"
#include "runtime/comm/flight_record.h"
#include "runtime/comm/host_board.h"
#include "runtime/comm/launcher.h"

namespace shardora {

class Deadline {
 public:
  // Ranks as the launcher says them in `environment`: MPI is not up yet.
  Deadline(double seconds, const Environment& environment);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  // What this rank does now. All ranks come to the same tests in the same order.
  void at(std::string_view test);
  std::string current() const;
  // All ranks of the host have come so far: nobody else needs to find their board. Collective over them.
  void met(Communicator& host);

 private:
  void watch();
  [[noreturn]] void expire();

  const double seconds_;
  const int rank_, ranks_;
  HostBoard board_;
  FlightRecord record_;
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::string current_;
  std::thread thread_;
};

}  // namespace shardora
