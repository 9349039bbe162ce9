#include "runtime/train/step.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/train/gradients.h"
#include "runtime/train/optimizer.h"

namespace shardora {

StepResult TrainStep::run(std::int64_t step) {
  PhaseClock clock;
  Backend& backend = machine_.backend;
  const ProcessGrid& grid = machine_.grid;
  const StepPlan plan = sources_.sampler.plan(step);
  accumulate(plan, step, clock);
  clock.enter(Phase::kNorms);
  instance_.finish_gradients();
  clock.enter(Phase::kReductions);
  const double mean = mean_loss(plan);
  reduce_gradients(backend, grid, instance_.parameters());
  const double norm = gradient_norm(backend, grid, instance_.parameters());
  if (!std::isfinite(mean) || !std::isfinite(norm)) {  // reduced values: every rank decides alike
    throw AgreedError(ExitStatus::kNotFinite,
                      grid.world->rank() == 0
                          ? fmt::format("step {}: loss {} and gradient norm {} must be finite; nothing of this "
                                        "step was applied or saved; lower train.learning_rate, or look at the data "
                                        "of this step",
                                        step, mean, norm)
                          : std::string());
  }
  clock.enter(Phase::kOptimizer);
  optimizer_step(backend, instance_.parameters(), options_, sources_.schedule, step,
                 clip_factor(norm, options_.clip_norm));
  clock.enter(Phase::kNorms);
  if (instance_.adapter()) instance_.adapter()->parameters_changed();
  instance_.refresh_norms();
  backend.synchronize();
  StepResult result{.loss = mean, .gradient_norm = norm, .tokens = plan.token_count, .phases = clock.read()};
  result.seconds = clock.total();
  return result;
}

// Gradients and losses of this rank's sequences, from zero.
void TrainStep::accumulate(const StepPlan& plan, std::int64_t step, PhaseClock& clock) {
  Backend& backend = machine_.backend;
  const GridPosition& data = machine_.grid.data;
  const Decoder& decoder = instance_.decoder();
  const Activations& activations = instance_.activations();
  backend.zero(instance_.parameters().gradients());
  backend.zero(activations.loss);
  const LossPlan loss{.gradient_scale = static_cast<float>(1.0 / static_cast<double>(plan.target_count)),
                      .gradients = true};
  for (const Batch& batch : micro_batches(plan.sequences, sources_.datasets, data.rank, data.size, sources_.packing)) {
    clock.enter(Phase::kData);
    const DeviceBatch on_device = decoder.upload(batch, activations);
    const PassContext pass = instance_.pass(on_device, step, true);
    clock.enter(Phase::kForward);
    decoder.forward(pass, on_device, activations, loss);
    clock.enter(Phase::kBackward);
    decoder.backward(pass, on_device, activations);
  }
}

double TrainStep::mean_loss(const StepPlan& plan) {
  double sums[2] = {0, 0};
  machine_.backend.copy_to_host(view_of(std::span<double>(sums), {2}), instance_.activations().loss);
  machine_.backend.synchronize();
  return machine_.grid.data_group->all_reduce(sums[0], Reduction::kSum) / static_cast<double>(plan.target_count);
}

}  // namespace shardora
