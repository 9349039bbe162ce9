#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/train/summary.h"

namespace shardora {

ExitStatus run_train(const RunOptions& options, const Machine& machine) {
  const TrainSummary summary = train(options, machine);
  print_result(machine, nlohmann::ordered_json::parse(summary_text(summary)));
  return summary.stopped_early ? ExitStatus::kStoppedEarly : ExitStatus::kDone;
}

}  // namespace shardora
