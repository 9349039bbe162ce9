#include "runtime/plan/plan.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_plan(const RunOptions& options, const Machine& machine) {
  const RunPlan plan = make_plan(options);
  if (!plan.warning.empty()) machine.log.warn(plan.warning);
  fmt::print("{}", to_text(plan));
  print_result(*machine.grid.world, to_json(plan), Above::kReport);
  return ExitStatus::kDone;
}

}  // namespace shardora
