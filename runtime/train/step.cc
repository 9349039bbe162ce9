#include "runtime/train/step.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/train/gradients.h"
#include "runtime/train/optimizer.h"

namespace shardora {

TrainStep::TrainStep(const Parts& parts)
    : parts_(parts),
      packer_(parts.datasets, parts.machine.grid.data.rank, parts.machine.grid.data.size, parts.packing) {
  packer_.reserve(parts.options.global_batch);
}

TrainStep::Result TrainStep::run(std::int64_t step) {
  PhaseClock clock;
  Backend& backend = parts_.machine.backend;
  const ProcessGrid& grid = parts_.machine.grid;
  Instance& instance = parts_.instance;
  parts_.sampler.plan(step, plan_);
  accumulate_gradients(step, clock);
  clock.enter(Phase::kNorms);
  instance.finish_gradients();
  clock.enter(Phase::kReductions);
  const double mean = mean_loss();
  reduce_gradients(backend, grid, instance.parameters());
  const double norm = gradient_norm(backend, grid, instance.parameters());
  require_finite(step, mean, norm);
  clock.enter(Phase::kOptimizer);
  optimizer_step(backend, instance.parameters(), parts_.options, parts_.schedule, step,
                 clip_factor(norm, parts_.options.clip_norm));
  clock.enter(Phase::kNorms);
  if (instance.adapter()) instance.adapter()->parameters_changed();
  instance.refresh_norms();
  backend.synchronize();
  Result result{.loss = mean, .gradient_norm = norm, .tokens = plan_.token_count, .phases = clock.read()};
  result.seconds = clock.total();
  return result;
}

// Gradients and losses of this rank's sequences, from zero.
void TrainStep::accumulate_gradients(std::int64_t step, PhaseClock& clock) {
  Instance& instance = parts_.instance;
  Backend& backend = parts_.machine.backend;
  const Decoder& decoder = instance.decoder();
  const Activations& activations = instance.activations();
  backend.zero(instance.parameters().gradients());
  backend.zero(activations.loss);
  const LossPlan loss{.gradient_scale = static_cast<float>(1.0 / static_cast<double>(plan_.target_count)),
                      .gradients = true};
  packer_.start(plan_.sequences);
  while (const Batch* batch = packer_.next()) {
    clock.enter(Phase::kData);
    const DeviceBatch on_device = decoder.upload(*batch, activations);
    const PassContext pass = instance.pass(on_device, step, true);
    clock.enter(Phase::kForward);
    decoder.forward(pass, on_device, activations, loss);
    clock.enter(Phase::kBackward);
    decoder.backward(pass, on_device, activations);
  }
}

double TrainStep::mean_loss() const {
  double sums[2] = {0, 0};
  parts_.machine.backend.copy_to_host(view_of(std::span<double>(sums), {2}), parts_.instance.activations().loss);
  parts_.machine.backend.synchronize();
  const double sum = parts_.machine.grid.data_group->all_reduce(sums[0], Reduction::kSum);
  return sum / static_cast<double>(plan_.target_count);
}

// The values are reduced ones: every rank decides alike.
void TrainStep::require_finite(std::int64_t step, double loss, double gradient_norm) const {
  if (std::isfinite(loss) && std::isfinite(gradient_norm)) return;
  const bool speaks = parts_.machine.grid.world->rank() == 0;
  throw AgreedError(ExitStatus::kNotFinite,
                    speaks ? fmt::format("step {}: loss {} and gradient norm {} must be finite; nothing of this step "
                                         "was applied or saved; lower train.learning_rate, or look at the data of this "
                                         "step",
                                         step, loss, gradient_norm)
                           : std::string());
}

}  // namespace shardora
