// AdamW and the schedule of its learning rate.
#pragma once

#include <cstdint>

#include "runtime/model/parameters.h"
#include "runtime/options.h"

namespace shardora {

// The learning rate of optimizer step k = 1..N with w warm-up steps:
//
//   k <= w: lr k / w       else t = (k - 1 - w) / max(1, N - 1 - w) and
//   cosine: min + (lr - min)(1 + cos pi t) / 2     linear: lr + (min - lr) t     constant: lr       N = w + 1: lr
//
// so the first step after warm-up is at the peak and the last one at the minimum.
class Schedule {
 public:
  Schedule(const TrainOptions& options, std::int64_t steps);
  double operator()(std::int64_t step) const { return at(step, peak_); }
  double magnitude(std::int64_t step) const { return at(step, magnitude_peak_); }

 private:
  double at(std::int64_t step, double peak) const;
  ScheduleKind kind_;
  std::int64_t steps_, warmup_;
  double peak_, magnitude_peak_, minimum_;
};

// min(1, clip / (norm + 1e-6)), as torch; 1 where clipping is off.
double clip_factor(double gradient_norm, double clip_norm);

// One step over the parameter set, clipping folded in. Weight decay touches A and B, never m; under `full` tensors of
// two and more dimensions. B's learning rate is LoRA+'s ratio times A's (arXiv 2402.12354).
void optimizer_step(Backend& backend, ParameterSet& parameters, const TrainOptions& options, const Schedule& schedule,
                    std::int64_t step, double gradient_scale);

}  // namespace shardora
