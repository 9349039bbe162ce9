// The watchdog of a rank: a thread that ends the whole job where a peer is lost, frozen or out of step, so that nothing
// hangs for ever. The rules are those of stall.h; what ranks know of each other is a board of shared memory within a
// host, and short messages between hosts (gossip.h).
//
// On expiry the lowest living rank says one line, `before_end` is called (exit.json), MPI_Abort is tried, and two
// seconds later the process ends by itself, with status 75: the run can be resumed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/flight_record.h"
#include "runtime/comm/launcher.h"

namespace shardora {

struct WatchdogPlan {
  double seconds = 0;       // longest time without progress while a peer waits; 0: no watchdog
  double init_seconds = 0;  // the same until MPI and NCCL have started
};

class Watchdog {
 public:
  // Before MPI is up. One rank has nobody to wait for: then there is no thread. `record` is not owned.
  Watchdog(const WatchdogPlan& plan, const Environment& environment, FlightRecord& record);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Every rank of this host has come so far. MPI may be called from now on: to abort, and, where it takes calls from
  // several threads, to hear of the ranks of other hosts, `far`. Collective over the world.
  void mpi_is_up(const std::vector<int>& far);
  // From now on MPI must not be called any more.
  void mpi_ends();
  // What to do on the rank that reports before all end, with the report and this rank's last collectives, a line each.
  // Runs on a thread of its own; it is not waited for longer than two seconds. Empty: nothing any more.
  using Action = std::function<void(const std::string& report, const std::string& record)>;
  void before_end(Action action);

  double waited_seconds() const { return record_.waited_seconds(); }  // of this rank, in collectives so far

 private:
  FlightRecord& record_;
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null: nothing to watch
};

}  // namespace shardora
