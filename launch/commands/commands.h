// What each command does once the ranks agree: calls the runtime and prints the result. Returns the exit status.
#pragma once

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

}  // namespace shardora
