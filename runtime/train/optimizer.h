// AdamW over the parameter set, clipping folded in. Weight decay touches A and B, never m; under `full` tensors of two
// and more dimensions. B's learning rate is LoRA+'s ratio times A's (arXiv 2402.12354).
#pragma once

#include "runtime/model/parameters.h"
#include "runtime/options.h"
#include "runtime/train/schedule.h"

namespace shardora {

// min(1, clip / (norm + 1e-6)), as torch; 1 where clipping is off.
double clip_factor(double gradient_norm, double clip_norm);

void optimizer_step(Backend& backend, ParameterSet& parameters, const TrainOptions& options, const Schedule& schedule,
                    std::int64_t step, double gradient_scale);

}  // namespace shardora
