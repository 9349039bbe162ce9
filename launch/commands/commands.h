// What each command does once the ranks agree: calls the runtime and prints the result. Returns the exit status.
#pragma once

#include "launch/options.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/doctor/deadline.h"
#include "runtime/train/run.h"

namespace shardora {

using CommandFunction = ExitStatus (*)(const RunOptions&, const Machine&);

ExitStatus run_train(const RunOptions& options, const Machine& machine);
ExitStatus run_eval(const RunOptions& options, const Machine& machine);
ExitStatus run_merge(const RunOptions& options, const Machine& machine);
ExitStatus run_generate(const RunOptions& options, const Machine& machine);
ExitStatus run_plan(const RunOptions& options, const Machine& machine);  // on one rank
ExitStatus run_analyze(const RunOptions& options, const Machine& machine);
ExitStatus run_inspect(const RunOptions& options, const Machine& machine);  // on one rank

// Before there is a Machine: it looks at what makes one.
ExitStatus run_doctor(MpiSession& session, const Invocation& invocation, Deadline& deadline);

}  // namespace shardora
