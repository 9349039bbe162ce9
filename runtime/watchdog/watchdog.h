// The watchdog of a rank: a thread that ends the whole job where a peer is lost, frozen or out of step, so that nothing
// hangs for ever. The rules are those of stall.h; what ranks know of each other is a board of shared memory within a
// host, and short messages between hosts (gossip.h).
//
// On expiry the lowest living rank prints one line, `before_end` is called (exit.json), MPI_Abort is tried, and two
// seconds later the process ends by itself, with status 75: the run can be resumed.
//
// With a deadline in the plan it watches that instead: then it ends the process with status 69, and one rank of each
// host prints what all ranks there were doing, even where MPI did not start.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/launcher.h"
#include "runtime/watchdog/flight_record.h"

namespace shardora {

struct WatchdogPlan {
  double seconds = 0;           // longest time without progress while a peer waits; 0: not watched
  double init_seconds = 0;      // the same until MPI and NCCL have started
  double deadline_seconds = 0;  // 0: none
  // The line at the deadline, from what the ranks of this host were doing.
  std::function<std::string(const std::string& activities)> deadline_report = {};
};

class Watchdog final : public FlightRecord {
 public:
  // Before MPI is up. One rank without a deadline has nothing to wait for: then there is no thread.
  Watchdog(const WatchdogPlan& plan, const Environment& environment);
  ~Watchdog() override;
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void mpi_started(const std::vector<int>& remote) override;
  void mpi_ends() override;

  // What to do on the rank that reports before all end, with the report and this rank's last collectives, a line each.
  // Runs on a thread of its own; it is not waited for longer than two seconds. Empty: nothing any more.
  using Action = std::function<void(const std::string& report, const std::string& record)>;
  void before_end(Action action);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null: nothing to watch
};

}  // namespace shardora
