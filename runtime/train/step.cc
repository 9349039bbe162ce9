#include "runtime/train/step.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>

#include "runtime/comm/agreement.h"
#include "runtime/train/optimizer.h"

namespace shardora {

namespace {

const Decoder::LayerDone kAllAtOnce;

// A start, three a micro-batch of at least one sequence, and what follows them.
std::int64_t most_phases(std::int64_t global_batch) { return 3 * global_batch + 5; }

}  // namespace

TrainStep::TrainStep(const Parts& parts)
    : parts_(parts),
      packer_(parts.datasets, parts.context.grid.data.rank, parts.context.grid.data.size, parts.packing),
      clock_(parts.context.backend, most_phases(parts.options.global_batch), parts.options.profile_ranges),
      sums_(parts.context.backend, parts.context.grid, parts.model.parameters()),
      model_flops_(model_sizes(parts.model.decoder(), parts.model.adapter())) {
  packer_.reserve(parts.options.global_batch);
  if (finishes_by_layer()) layer_done_ = [this](std::int64_t layer) { finish_layer(layer); };
}

TrainStep::Result TrainStep::run(std::int64_t step) {
  const ProfilerRange whole_step = range("step", step);
  Backend& backend = parts_.context.backend;
  LoadedModel& model = parts_.model;
  const Decoder& decoder = model.decoder();
  const Activations& activations = model.activations();
  const double waited_before = waited_seconds();
  start(step);
  const LossPlan loss{.gradient_scale = static_cast<float>(1.0 / static_cast<double>(plan_.target_count)),
                      .gradients = true};
  for (std::int64_t micro_batch = 0; const Batch* batch = packer_.next(); ++micro_batch) {
    const ProfilerRange whole = range("micro-batch", micro_batch);
    DeviceBatch on_device;
    {
      const ProfilerRange data = clock_.enter(Phase::kData);
      on_device = decoder.upload(*batch, activations);
    }
    const Pass pass = model.pass(on_device, step, true);
    {
      const ProfilerRange forward = clock_.enter(Phase::kForward);
      decoder.forward(pass, activations, loss);
    }
    const ProfilerRange backward = clock_.enter(Phase::kBackward);
    decoder.backward(pass, activations, packer_.at_end() ? layer_done_ : kAllAtOnce);
  }
  if (packer_.empty()) finish_layers_without_a_sequence();
  if (!finishes_by_layer()) {
    const ProfilerRange norms = clock_.enter(Phase::kNorms);
    model.finish_gradients();
  }
  Result result{.tokens = plan_.token_count, .model_flops = model_flops()};
  {
    const ProfilerRange reductions = clock_.enter(Phase::kReductions);
    sums_.finish();
    wait_for_device();
    result.loss = mean_loss();
    result.gradient_norm = gradient_norm(backend, parts_.context.grid, model.parameters());
  }
  result.skipped = skips(step, result.loss, result.gradient_norm);
  if (!result.skipped) update(step, result.gradient_norm);
  clock_.stop();
  backend.synchronize();
  result.phases = clock_.read();
  result.seconds = std::accumulate(result.phases.begin(), result.phases.end(), 0.0);
  result.waited_seconds = waited_seconds() - waited_before;
  return result;
}

// The step's sequences, and gradients and losses of zero.
void TrainStep::start(std::int64_t step) {
  {
    const ProfilerRange data = clock_.start();
    parts_.sampler.plan(step, plan_);
  }
  Backend& backend = parts_.context.backend;
  backend.zero(parts_.model.parameters().gradients());
  backend.zero(parts_.model.activations().loss);
  packer_.start(plan_.sequences);
}

double TrainStep::waited_seconds() const {
  const Watchdog* const watchdog = parts_.context.watchdog;
  return watchdog == nullptr ? 0 : watchdog->waited_seconds();
}

void TrainStep::update(std::int64_t step, double gradient_norm) {
  LoadedModel& model = parts_.model;
  {
    const ProfilerRange optimizer = clock_.enter(Phase::kOptimizer);
    optimizer_step(parts_.context.backend, model.parameters(), parts_.options, parts_.schedule, step,
                   clip_factor(gradient_norm, parts_.options.clip_norm));
  }
  const ProfilerRange norms = clock_.enter(Phase::kNorms);
  if (model.adapter()) model.adapter()->parameters_changed();
  model.refresh_norms();
}

ProfilerRange TrainStep::range(std::string_view name, std::int64_t index) const {
  return {parts_.options.profile_ranges, name, index};
}

// An exact norm gradient has terms of all micro-batches and of the whole tensor group.
bool TrainStep::finishes_by_layer() const {
  const Adapter* const adapter = parts_.model.adapter();
  return adapter == nullptr || adapter->finishes_by_layer();
}

void TrainStep::finish_layer(std::int64_t layer) {
  if (Adapter* const adapter = parts_.model.adapter()) adapter->finish_layer(layer);
  sums_.layer_done(layer);
}

// The last step of a run may leave a rank without a sequence: the others sum their layers with it.
void TrainStep::finish_layers_without_a_sequence() {
  if (!layer_done_) return;
  const Decoder& decoder = parts_.model.decoder();
  for (std::int64_t layer = decoder.config().num_hidden_layers; layer-- > decoder.lowest_trained_layer();) {
    layer_done_(layer);
  }
}

// All that is queued up to here, so that no later wait of this step meets a collective whose peer is lost.
void TrainStep::wait_for_device() const {
  const ProcessGrid& grid = parts_.context.grid;
  Communicator* const groups[] = {grid.tensor_group, grid.data_group};
  wait_on_host(parts_.context.backend, parts_.context.backend.record(), groups);
}

double TrainStep::model_flops() const {
  double sum = model_flops_.of_targets(plan_.target_count);
  for (const SequenceRef& ref : plan_.sequences) {
    sum += model_flops_.of_sequence(parts_.datasets[static_cast<std::size_t>(ref.dataset)]->length(ref.sequence));
  }
  return sum;
}

double TrainStep::mean_loss() const {
  double sums[2] = {0, 0};
  parts_.context.backend.copy_to_host(view_of(std::span<double>(sums), {2}), parts_.model.activations().loss);
  parts_.context.backend.synchronize();
  const double sum = parts_.context.grid.data_group->all_reduce(sums[0], Reduction::kSum);
  return sum / static_cast<double>(plan_.target_count);
}

// The values are reduced ones: every rank decides alike.
bool TrainStep::skips(std::int64_t step, double loss, double gradient_norm) {
  if (std::isfinite(loss) && std::isfinite(gradient_norm)) {
    skipped_in_a_row_ = 0;
    return false;
  }
  if (parts_.guards != nullptr) parts_.guards->check(step);  // a bit that has changed by itself may be the reason
  if (skipped_in_a_row_ < parts_.options.skip_nonfinite) {
    ++skipped_in_a_row_;
    return true;
  }
  const bool speaks = parts_.context.grid.world->rank() == 0;
  throw AgreedError(ExitStatus::kNotFinite,
                    speaks ? fmt::format("step {}: loss {} and gradient norm {} must be finite; nothing of this step "
                                         "was applied or saved; lower train.learning_rate, or look at the data of this "
                                         "step (train.skip_nonfinite lets a few pass)",
                                         step, loss, gradient_norm)
                           : std::string());
}

}  // namespace shardora
