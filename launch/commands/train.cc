#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/train/summary.h"

namespace shardora {

ExitStatus run_train(const RunOptions& options, const Context& context) {
  const TrainSummary summary = train(options, context);
  print_result(context, to_json(summary));
  return summary.stopped_early ? ExitStatus::kStoppedEarly : ExitStatus::kDone;
}

}  // namespace shardora
