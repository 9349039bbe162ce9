#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"

namespace shardora {

ExitStatus run_train(const RunOptions& options, const Machine& machine) {
  const TrainSummary summary = train(options, machine);
  print_result(machine, {{"command", "train"},
                         {"steps", summary.steps},
                         {"loss", summary.loss},
                         {"eval", to_json(summary.evaluations)},
                         {"tokens_per_second", summary.tokens_per_second},
                         {"trained_parameters", summary.trained_parameters},
                         {"total_parameters", summary.total_parameters},
                         {"seconds", summary.seconds},
                         {"output", summary.output},
                         {"stopped_early", summary.stopped_early}});
  return summary.stopped_early ? ExitStatus::kStoppedEarly : ExitStatus::kDone;
}

}  // namespace shardora
