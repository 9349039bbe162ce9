#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/jobs/eval/eval.h"

namespace shardora {

ExitStatus run_eval(const RunOptions& options, const Context& context) {
  print_result(*context.grid.world, to_json(evaluate(options, context)));
  return ExitStatus::kDone;
}

}  // namespace shardora
