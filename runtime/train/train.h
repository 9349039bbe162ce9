// The training job. All ranks call; the result is the same on every rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/session/context.h"
#include "runtime/session/evaluate.h"

namespace shardora {

struct TrainSummary {
  std::int64_t steps = 0;
  double loss = 0;                      // of the last optimizer step
  std::vector<Evaluation> evaluations;  // at the end
  double seconds = 0, tokens_per_second = 0;
  std::int64_t trained_parameters = 0, total_parameters = 0;
  bool stopped_early = false;  // by a signal or a time limit, with a checkpoint: exit status 75
  std::string output;          // the adapter's (or, with method full, the model's) folder
};
// Writes output.dir as documented. Errors: Error or AgreedError with the status to exit with.
TrainSummary train(const RunOptions& options, const Context& context);

}  // namespace shardora
