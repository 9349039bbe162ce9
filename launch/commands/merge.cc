#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/jobs/merge/merge.h"

namespace shardora {

ExitStatus run_merge(const RunOptions& options, const Context& context) {
  const MergeSummary summary = merge(options, context);
  nlohmann::ordered_json result = {{"command", "merge"},         {"output", summary.output},
                                   {"tensors", summary.tensors}, {"merged_modules", summary.merged_modules},
                                   {"bytes", summary.bytes},     {"seconds", summary.seconds}};
  if (summary.logit_difference) result["logit_difference"] = *summary.logit_difference;
  print_result(context, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
