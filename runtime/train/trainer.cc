#include "runtime/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/observe/device_table.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

constexpr double kAutomaticSaveSeconds = 600;

double epoch_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

Trainer::~Trainer() {
  if (context_.watchdog != nullptr) context_.watchdog->before_end({});
}

Trainer::Trainer(const RunOptions& options, const Context& context)
    : options_(options),
      context_(context),
      packing_{options.train.micro_batch_tokens, options.data.packing},
      started_(monotonic_seconds()),
      last_save_(started_),
      done_steps_(std::make_shared<std::atomic<std::int64_t>>(0)) {}

TrainSummary Trainer::run() {
  try {
    start();
    if (!earlier_) return loop();
    context_.log.info(fmt::format("{} is finished: nothing to do (output.overwrite = true starts anew)",
                                  printable(options_.output.dir)));
    return *earlier_;
  } catch (const AgreedError& error) {
    record_failure(error.status(), error.what(), true);
    throw;
  } catch (...) {
    const Failure failure = current_failure();
    record_failure(failure.status, failure.message, false);
    throw;
  }
}

// Launch scripts decide by it whether to start again. An error of one rank ends rank 0 before it could write.
void Trainer::record_failure(ExitStatus status, const std::string& reason, bool known_to_all) {
  if (!folder_is_ours_ || (known_to_all && !writes())) return;
  const char* const elsewhere = status == ExitStatus::kStoppedEarly
                                    ? "signal: another rank had it while it read weights"
                                    : "another rank failed: see its message";
  try {
    write_exit(options_.output.dir, status, reason.empty() ? elsewhere : reason, counters_.step);
  } catch (const Error& second) {  // the first error is the one to end with
    context_.log.warn(second.what());
  }
}

TrainSummary Trainer::loop() {
  say_hello();
  Stop stopped = asked_to_stop(false);  // by a signal while the run was loaded
  bool enough = has_stopped_gaining();  // resumed after its last step
  std::int64_t step = counters_.step;
  std::optional<Progress> progress(std::in_place, writes(), step + 1, steps_);
  while (step < steps_ && stopped == Stop::kNo && !enough) {
    ++step;
    context_.set_activity(fmt::format("step {}", step));
    const double waited = waited_seconds();
    const TrainStep::Result done = run_step(step);
    counters_.step = step;
    *done_steps_ = step;
    report(step, done);
    watch_stragglers(done, waited);
    progress->step(step, done.loss, static_cast<double>(done.tokens) / done.seconds);
    if (options_.train.check_every > 0 && step % options_.train.check_every == 0) check_memory(step);
    const bool evaluates = options_.train.eval_every > 0 && step % options_.train.eval_every == 0 && step < steps_;
    if (evaluates) evaluate_all(step);
    enough = has_stopped_gaining();
    collect_save();
    const Decision decision = decide(step, done.seconds);
    if (step < steps_ && !enough) stopped = decision.stop;
    if (decision.save || stopped != Stop::kNo) save(step);
  }
  progress.reset();  // its last line stands before what is said at the end
  return finish(step, step < steps_ ? stopped : Stop::kNo);
}

bool Trainer::has_stopped_gaining() const {
  return options_.train.early_stopping > 0 && counters_.evaluations_without_gain >= options_.train.early_stopping;
}

void Trainer::report(std::int64_t step, const TrainStep::Result& done) {
  counters_.tokens += done.tokens;
  trained_tokens_ += done.tokens;
  trained_seconds_ += done.seconds;
  trained_flops_ += done.model_flops;
  if (done.skipped) {
    context_.log.warn(
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
                  .peak_memory_bytes = model_->used_bytes(),
                  .magnitude_drift = drift,
                  .skipped = done.skipped,
                  .phases = done.phases});
}

double Trainer::flops_per_second_of_a_rank(double flops, double seconds) const {
  return flops / seconds / context_.grid.world->size();
}

// Of other products than bfloat16 ones, the device's peak is not known.
std::optional<double> Trainer::utilisation(double flops_per_second) const {
  if (model_->activation_dtype() != DType::kBF16) return {};
  const DeviceFigures* const device = find_device_by_name(context_.backend.device_name());
  return device != nullptr ? std::optional(flops_per_second / device->bf16_flops) : std::nullopt;
}

void Trainer::evaluate_all(std::int64_t step) {
  evaluations_.clear();
  context_.set_activity(fmt::format("evaluation after step {}", step));
  double total = 0, targets = 0;
  const std::vector<double> drift = eval_sets_.empty() ? std::vector<double>() : drift_by_layer();
  for (std::size_t i = 0; i < eval_sets_.size(); ++i) {
    const Evaluation result = evaluate_dataset(*model_, context_, eval_sets_[i], options_.data.eval[i].name, packing_);
    metrics_.write_evaluation(step, result.name, result.loss, result.perplexity, result.tokens, drift);
    total += result.loss * static_cast<double>(result.tokens);
    targets += static_cast<double>(result.tokens);
    evaluations_.push_back(result);
    context_.log.info(fmt::format("after step {}: {}loss {:.4f}, perplexity {:.2f} on {} held-out tokens", step,
                                  result.name.empty() ? std::string() : result.name + ": ", result.loss,
                                  result.perplexity, result.tokens));
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

// Any rank's, known to all ranks alike.
Trainer::Stop Trainer::asked_to_stop(bool time_is_up) {
  const Stop mine = context_.stop_requested.load() ? Stop::kSignal : time_is_up ? Stop::kTimeLimit : Stop::kNo;
  return static_cast<Stop>(context_.grid.world->all_reduce(static_cast<std::int64_t>(mine), Reduction::kMax));
}

// Rank 0's clock decides.
Trainer::Decision Trainer::decide(std::int64_t step, double step_seconds) {
  bool time_is_up = false;
  double save = 0;
  const std::int64_t every = options_.output.checkpoint_every;
  if (every > 0 && step % every == 0) save = 1;
  if (writes()) {
    const double limit = options_.train.stop_at;
    time_is_up = limit > 0 && epoch_seconds() + step_seconds + save_seconds_ > limit;
    if (every < 0 && monotonic_seconds() - last_save_ > kAutomaticSaveSeconds) save = 1;
  }
  return {.stop = asked_to_stop(time_is_up), .save = context_.grid.world->all_reduce(save, Reduction::kMax) > 0};
}

TrainSummary train(const RunOptions& options, const Context& context) {
  Trainer trainer(options, context);
  return trainer.run();
}

}  // namespace shardora
