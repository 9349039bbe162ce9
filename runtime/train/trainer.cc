#include "runtime/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/observe/device_table.h"
#include "runtime/train/replicas.h"

namespace shardora {
namespace {

constexpr double kAutomaticSaveSeconds = 600;

double epoch_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Trainer::~Trainer() {
  if (machine_.watchdog != nullptr) machine_.watchdog->before_end({});
}

Trainer::Trainer(const RunOptions& options, const Machine& machine)
    : options_(options),
      machine_(machine),
      packing_{options.train.micro_batch_tokens, options.data.packing},
      started_(monotonic_seconds()),
      last_save_(started_),
      done_steps_(std::make_shared<std::atomic<std::int64_t>>(0)) {}

TrainSummary Trainer::run() {
  try {
    start();
    return earlier_ ? *earlier_ : loop();
  } catch (const Error& error) {
    record_failure(error);
    throw;
  }
}

void Trainer::record_failure(const Error& error) {
  if (!folder_) return;
  const std::string reason = *error.what() == 0 ? "another rank failed: see its message" : error.what();
  try {
    folder_->write_exit(error.status(), reason, counters_.step);
  } catch (const Error& second) {  // the first error is the one to end with
    machine_.log.warn(second.what());
  }
}

TrainSummary Trainer::loop() {
  say_hello();
  bool stopped_early = false, enough = false;
  std::int64_t step = counters_.step;
  std::optional<Progress> progress(std::in_place, writes(), step + 1, steps_);
  while (step < steps_ && !stopped_early && !enough) {
    ++step;
    machine_.grid.world->at(fmt::format("step {}", step));
    const double waited = waited_seconds();
    const TrainStep::Result done = step_->run(step);
    counters_.step = step;
    *done_steps_ = step;
    report(step, done);
    watch_stragglers(done, waited);
    progress->step(step, done.loss, static_cast<double>(done.tokens) / done.seconds);
    if (options_.train.check_every > 0 && step % options_.train.check_every == 0) check_memory(step);
    const bool evaluates = options_.train.eval_every > 0 && step % options_.train.eval_every == 0 && step < steps_;
    if (evaluates) evaluate_all(step);
    enough = options_.train.early_stopping > 0 && counters_.evaluations_without_gain >= options_.train.early_stopping;
    const Decision decision = decide(step, done.seconds);
    stopped_early = decision.stop && step < steps_ && !enough;
    if (decision.save || stopped_early) save(step);
  }
  progress.reset();  // its last line stands before what is said at the end
  return finish(step, stopped_early);
}

void Trainer::report(std::int64_t step, const TrainStep::Result& done) {
  counters_.tokens += done.tokens;
  trained_tokens_ += done.tokens;
  trained_seconds_ += done.seconds;
  trained_flops_ += done.model_flops;
  if (done.skipped) {
    machine_.log.warn(
        fmt::format("step {}: loss {} and gradient norm {} are not finite: nothing of it was applied "
                    "(train.skip_nonfinite)",
                    step, done.loss, done.gradient_norm));
  } else {
    last_loss_ = done.loss;
  }
  if (!done.skipped && step % options_.output.log_every != 0 && step != steps_) return;
  const std::optional<StepMetrics::Drift> drift = magnitude_drift();
  const double flops_per_second = flops_per_second_of_a_rank(done.model_flops, done.seconds);
  metrics_.write({.step = step,
                  .loss = done.loss,
                  .learning_rate = (*schedule_)(step),
                  .gradient_norm = done.gradient_norm,
                  .tokens = done.tokens,
                  .seconds = done.seconds,
                  .tokens_per_second = static_cast<double>(done.tokens) / done.seconds,
                  .model_flops_per_second = flops_per_second,
                  .model_flops_utilisation = utilisation(flops_per_second),
                  .peak_memory_bytes = instance_->used_bytes(),
                  .magnitude_drift = drift,
                  .skipped = done.skipped,
                  .phases = done.phases});
}

double Trainer::flops_per_second_of_a_rank(double flops, double seconds) const {
  return flops / seconds / machine_.grid.world->size();
}

// Of other products than bfloat16 ones, the device's peak is not known.
std::optional<double> Trainer::utilisation(double flops_per_second) const {
  if (instance_->activation_dtype() != DType::kBF16) return {};
  const DeviceFigures* const device = find_device_by_name(machine_.backend.device_name());
  return device != nullptr ? std::optional(flops_per_second / device->bf16_flops) : std::nullopt;
}

void Trainer::evaluate_all(std::int64_t step) {
  evaluations_.clear();
  machine_.grid.world->at(fmt::format("evaluation after step {}", step));
  double total = 0, targets = 0;
  const std::vector<double> drift = eval_sets_.empty() ? std::vector<double>() : drift_by_layer();
  for (std::size_t i = 0; i < eval_sets_.size(); ++i) {
    const Evaluation result =
        evaluate_dataset(*instance_, machine_, eval_sets_[i], options_.data.eval[i].name, packing_);
    metrics_.write_evaluation(step, result.name, result.loss, result.perplexity, result.tokens, drift);
    total += result.loss * static_cast<double>(result.tokens);
    targets += static_cast<double>(result.tokens);
    evaluations_.push_back(result);
  }
  if (eval_sets_.empty()) return;
  const double loss = total / targets;
  const bool better = counters_.best_step == 0 || loss < counters_.best_loss;
  counters_.evaluations_without_gain = better ? 0 : counters_.evaluations_without_gain + 1;
  if (!better) return;
  counters_.best_loss = loss;
  counters_.best_step = step;
  if (options_.train.save_best) save(step);
}

// What nothing should have changed: each rank's frozen weights, and what all hold alike. A step's first check counts.
void Trainer::check_memory(std::int64_t step) {
  if (checked_step_ == step) return;
  const ProcessGrid& grid = machine_.grid;
  agree(*grid.world, [&] { frozen_->check(grid.world->rank()); });
  require_equal_replicas(machine_.backend, grid, instance_->parameters());
  checked_step_ = step;
}

double Trainer::waited_seconds() const {
  return machine_.watchdog == nullptr ? 0 : machine_.watchdog->waited_seconds();
}

// On a device a rank's own work and its waiting are one queue.
void Trainer::watch_stragglers(const TrainStep::Result& done, double waited_before) {
  if (machine_.watchdog == nullptr || machine_.backend.kind() != BackendKind::kCpu) return;
  const double own = done.seconds - (waited_seconds() - waited_before);
  if (const auto said = stragglers_.step(*machine_.grid.world, own)) machine_.log.warn(*said);
}

// Rank 0's clock and any rank's signal, known to all ranks alike.
Trainer::Decision Trainer::decide(std::int64_t step, double step_seconds) {
  double stop = machine_.stop_requested.load() ? 1 : 0, save = 0;
  const std::int64_t every = options_.output.checkpoint_every;
  if (every > 0 && step % every == 0) save = 1;
  if (writes()) {
    const double limit = options_.train.stop_at;
    if (limit > 0 && epoch_seconds() + step_seconds + save_seconds_ > limit) stop = 1;
    if (every < 0 && monotonic_seconds() - last_save_ > kAutomaticSaveSeconds) save = 1;
  }
  Communicator& world = *machine_.grid.world;
  return {.stop = world.all_reduce(stop, Reduction::kMax) > 0, .save = world.all_reduce(save, Reduction::kMax) > 0};
}

TrainSummary train(const RunOptions& options, const Machine& machine) {
  Trainer trainer(options, machine);
  return trainer.run();
}

}  // namespace shardora
