// What each command does once the ranks agree: calls the runtime and prints the result. Returns the exit status.
#pragma once

#include "launch/options.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/session/context.h"

namespace shardora {

using CommandFunction = ExitStatus (*)(const RunOptions&, const Context&);

ExitStatus run_train(const RunOptions& options, const Context& context);
ExitStatus run_eval(const RunOptions& options, const Context& context);
ExitStatus run_merge(const RunOptions& options, const Context& context);
ExitStatus run_generate(const RunOptions& options, const Context& context);
ExitStatus run_plan(const RunOptions& options, const Context& context);  // on one rank
ExitStatus run_analyze(const RunOptions& options, const Context& context);
ExitStatus run_inspect(const RunOptions& options, const Context& context);  // on one rank

// Before there is a Context: it looks at what makes one.
ExitStatus run_doctor(MpiSession& session, const RunOptions& options, Watchdog& watchdog);

}  // namespace shardora
