// The MPI side of a run: initialises MPI, owns its communicators, and ends them. One per process.
#pragma once

#include <memory>
#include <string>

#include "runtime/comm/collective_observer.h"
#include "runtime/comm/process_grid.h"

namespace shardora {

class MpiSession {
 public:
  // `observer` (null: none) is notified of all collectives from MPI's start to its end; it is not owned and outlives
  // this. Throws Error(kUnavailable) where the launcher started more ranks than MPI sees (separate one-rank worlds).
  MpiSession(int& argc, char**& argv, CollectiveObserver* observer = nullptr);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  static std::string library();  // "Open MPI v4.1.4"

  Communicator& world();
  Communicator& host_group();   // the ranks of this host, in the world's order
  int host_local_rank() const;  // among them, from 0
  int host_local_size() const;

  // Splits the world. Throws Error(kUsage) on every rank, naming the sizes that would work, where tensor does not
  // divide the ranks. The session owns the communicators.
  const ProcessGrid& make_grid(const ParallelOptions& options);

  CollectiveObserver* observer() const;

  // Ends all ranks at once with this status, from one rank. Does not return.
  [[noreturn]] void abort(ExitStatus status);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shardora
