#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/jobs/plan/plan_report.h"

namespace shardora {

ExitStatus run_plan(const RunOptions& options, const Context& context) {
  const RunPlan plan = make_plan(options);
  if (!plan.warning.empty()) context.log.warn(plan.warning);
  fmt::print("{}", to_text(plan));
  print_result(*context.grid.world, to_json(plan), Above::kReport);
  return ExitStatus::kDone;
}

}  // namespace shardora
