#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/train/summary.h"

namespace shardora {

ExitStatus run_eval(const RunOptions& options, const Machine& machine) {
  print_result(*machine.grid.world, to_json(evaluate(options, machine)));
  return ExitStatus::kDone;
}

}  // namespace shardora
