#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_merge(const RunOptions& options, const Machine& machine) {
  const MergeSummary summary = merge(options, machine);
  print_result(machine, {{"command", "merge"},
                         {"output", summary.output},
                         {"tensors", summary.tensors},
                         {"merged_modules", summary.merged_modules},
                         {"bytes", summary.bytes}});
  return ExitStatus::kDone;
}

}  // namespace shardora
