// What a run would meet, tested before it, under the same launcher and with the same keys: hosts, devices, NCCL, sums
// over the groups of ranks, the file system of output.dir.
#pragma once

#include <string>

#include "runtime/comm/mpi_session.h"
#include "runtime/jobs/doctor/report.h"
#include "runtime/options.h"
#include "runtime/watchdog/watchdog.h"

namespace shardora {

// doctor.timeout_seconds, even where MPI does not start.
WatchdogPlan doctor_deadline(double seconds);

// Collective over the world. `program` identifies this build; the watchdog is given what is tested next. The result is
// whole on rank 0; the others have the findings of their own only.
Examination examine(MpiSession& session, const RunOptions& options, const std::string& program, Watchdog& watchdog);

}  // namespace shardora
