#include "runtime/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace shardora {

Schedule::Schedule(const TrainOptions& options, std::int64_t steps)
    : kind_(options.schedule),
      steps_(steps),
      warmup_(static_cast<std::int64_t>(options.warmup_steps < 1
                                            ? std::ceil(options.warmup_steps * static_cast<double>(steps))
                                            : options.warmup_steps)),
      peak_(options.learning_rate),
      magnitude_peak_(options.magnitude_learning_rate < 0 ? options.learning_rate : options.magnitude_learning_rate),
      minimum_(options.min_learning_rate) {}

double Schedule::at(std::int64_t step, double peak) const {
  if (step <= warmup_) return peak * static_cast<double>(step) / static_cast<double>(warmup_);
  if (kind_ == ScheduleKind::kConstant || steps_ <= warmup_ + 1) return peak;
  const double t = std::min(1.0, static_cast<double>(step - 1 - warmup_) / static_cast<double>(steps_ - 1 - warmup_));
  const double least = std::min(minimum_, peak);
  if (kind_ == ScheduleKind::kLinear) return peak + (least - peak) * t;
  return least + (peak - least) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

}  // namespace shardora
