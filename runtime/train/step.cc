#include "runtime/train/step.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/observe/metrics.h"
#include "runtime/train/gradients.h"
#include "runtime/train/optimizer.h"

namespace shardora {

TrainStep::TrainStep(const Parts& parts)
    : parts_(parts),
      packer_(parts.datasets, parts.machine.grid.data.rank, parts.machine.grid.data.size, parts.packing) {
  packer_.reserve(parts.options.global_batch);
}

TrainStep::Result TrainStep::run(std::int64_t step) {
  const double begin = monotonic_seconds();
  Backend& backend = parts_.machine.backend;
  const ProcessGrid& grid = parts_.machine.grid;
  Instance& instance = parts_.instance;
  parts_.sampler.plan(step, plan_);
  accumulate_gradients(step);
  instance.finish_gradients();
  reduce_gradients(backend, grid, instance.parameters());
  const double norm = gradient_norm(backend, grid, instance.parameters());
  double sums[2] = {0, 0};
  backend.copy_to_host(view_of(std::span<double>(sums), {2}), instance.activations().loss);
  backend.synchronize();
  const double mean = grid.data_group->all_reduce(sums[0], Reduction::kSum) / static_cast<double>(plan_.target_count);
  require_finite(step, mean, norm);
  optimizer_step(backend, instance.parameters(), parts_.options, parts_.schedule, step,
                 clip_factor(norm, parts_.options.clip_norm));
  if (instance.adapter()) instance.adapter()->parameters_changed();
  instance.refresh_norms();
  backend.synchronize();
  return {.loss = mean, .gradient_norm = norm, .seconds = monotonic_seconds() - begin, .tokens = plan_.token_count};
}

void TrainStep::accumulate_gradients(std::int64_t step) {
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
    const DeviceBatch on_device = decoder.upload(*batch, activations);
    const PassContext pass = instance.pass(on_device, step, true);
    decoder.forward(pass, on_device, activations, loss);
    decoder.backward(pass, on_device, activations);
  }
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
