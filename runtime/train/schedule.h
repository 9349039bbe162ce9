// The learning rate of optimizer step k = 1..N with w warm-up steps:
//
//   k <= w: lr k / w       else t = (k - 1 - w) / max(1, N - 1 - w) and
//   cosine: min + (lr - min)(1 + cos pi t) / 2     linear: lr + (min - lr) t     constant: lr       N = w + 1: lr
//
// so the first step after warm-up is at the peak and the last one at the minimum.
#pragma once

#include <cstdint>

#include "runtime/options.h"

namespace shardora {

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

}  // namespace shardora
