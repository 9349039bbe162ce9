// The training job.
#pragma once

#include "runtime/train/summary.h"

namespace shardora {

// Collective over the world; the result is the same on every rank. Writes output.dir as documented; however it ends
// once that folder is this run's, exit.json there records it. Errors: Error or AgreedError with the status to exit
// with.
TrainSummary train(const RunOptions& options, const Context& context);

}  // namespace shardora
