#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_merge(const RunOptions& options, const Machine& machine) {
  const MergeSummary summary = merge(options, machine);
  nlohmann::ordered_json result = {{"command", "merge"},         {"output", summary.output},
                                   {"tensors", summary.tensors}, {"merged_modules", summary.merged_modules},
                                   {"bytes", summary.bytes},     {"seconds", summary.seconds}};
  if (summary.logit_difference) result["logit_difference"] = *summary.logit_difference;
  print_result(machine, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
