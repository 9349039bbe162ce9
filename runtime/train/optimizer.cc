#include "runtime/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/adamw.h"

namespace shardora {
namespace {

bool decays(const Parameter& parameter) {
  return parameter.kind != ParameterKind::kMagnitude && parameter.logical_shape.size() >= 2;
}

TensorView flat(TensorView view) { return view.reshaped({view.elements()}); }

}  // namespace

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

double clip_factor(double gradient_norm, double clip_norm) {
  return clip_norm > 0 ? std::min(1.0, clip_norm / (gradient_norm + 1e-6)) : 1.0;
}

void optimizer_step(Backend& backend, ParameterSet& parameters, const TrainOptions& options, const Schedule& schedule,
                    std::int64_t step, double gradient_scale) {
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    double rate = parameter.kind == ParameterKind::kMagnitude ? schedule.magnitude(step) : schedule(step);
    if (parameter.kind == ParameterKind::kB) rate *= options.b_learning_rate_ratio;
    adamw(backend, {.value = flat(parameters.value(i)),
                    .gradient = flat(parameters.gradient(i)),
                    .moment1 = flat(parameters.moment1(i)),
                    .moment2 = flat(parameters.moment2(i)),
                    .learning_rate = rate,
                    .beta1 = options.beta1,
                    .beta2 = options.beta2,
                    .epsilon = options.epsilon,
                    .weight_decay = decays(parameter) ? options.weight_decay : 0.0,
                    .step = step,
                    .gradient_scale = gradient_scale});
  }
}

}  // namespace shardora
