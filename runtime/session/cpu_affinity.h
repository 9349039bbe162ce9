// Which cores a rank computes on. mpirun binds each of few ranks to a single core, which would leave the rest of the
// host idle; and ranks that it does not bind at all would each start a thread on every core.
#pragma once

#include <string>
#include <vector>

#include "runtime/comm/mpi_session.h"
#include "runtime/options.h"

namespace shardora {

struct BindingFacts {
  std::vector<int> mask;  // cores that this rank may use now, ascending
  std::vector<int> host;  // cores that the launcher has for all ranks of this host, ascending
  int local_rank = 0, local_size = 1;
  bool started_by_mpirun = false;  // else the mask is a user's or a site's will, and stays
};

struct Binding {
  std::vector<int> mask;
  int threads = 1;
  std::string note;     // for the log
  std::string warning;  // empty: nothing to warn of
};

// The arithmetic, without the system.
Binding plan_binding(const BindingFacts& facts, const ParallelOptions& options);

// Reads this process's mask, sets it, and returns what it did. Call before any thread is started.
Binding bind_cores(const MpiSession& session, const ParallelOptions& options);

}  // namespace shardora
