#include "runtime/train/train.h"

#include <fmt/format.h>

#include <chrono>

#include "runtime/observe/progress.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"
#include "runtime/train/guards.h"
#include "runtime/train/run_report.h"
#include "runtime/train/saver.h"

namespace shardora {
namespace {

bool is_multiple(std::int64_t step, std::int64_t every) { return every > 0 && step % every == 0; }

// train.stop_at, by rank 0's clock.
bool time_is_up(const RunOptions& options, double seconds_of_a_step_and_a_save) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return options.train.stop_at > 0 && now.count() + seconds_of_a_step_and_a_save > options.train.stop_at;
}

enum class Stop { kNo, kTimeLimit, kSignal };
// Any rank's reason, known to all ranks alike.
Stop asked_to_stop(const Context& context, bool time_is_up) {
  const Stop mine = context.stop_requested.load() ? Stop::kSignal : time_is_up ? Stop::kTimeLimit : Stop::kNo;
  return static_cast<Stop>(context.grid.world->all_reduce(static_cast<std::int64_t>(mine), Reduction::kMax));
}

bool early_stopping_is_due(const TrainOptions& options, const Counters& counters) {
  return options.early_stopping > 0 && counters.evaluations_without_gain >= options.early_stopping;
}

// On a device a rank's own work and its waiting are one queue.
void warn_of_a_straggler(const Context& context, StragglerWatch& stragglers, const TrainStep::Result& done) {
  if (context.watchdog == nullptr || context.backend.kind() != BackendKind::kCpu) return;
  const auto warning = stragglers.step(*context.grid.world, done.seconds - done.waited_seconds);
  if (warning) context.log.warn(*warning);
}

}  // namespace

TrainSummary train(const RunOptions& options, const Context& context) {
  const double started = monotonic_seconds();
  Communicator& world = *context.grid.world;

  // What can be refused is refused before weights are read.
  context.set_activity("opening the inputs");
  TrainInputs inputs = open_inputs(options, context);
  TrainSteps steps = choose_steps(options, context, inputs);
  context.set_activity("opening output.dir");
  RunOutput output(options, context, inputs, steps);
  if (output.finished_before()) {
    context.log.info(fmt::format("{} is finished: nothing to do (output.overwrite = true starts anew)",
                                 printable(options.output.dir)));
    return *output.finished_before();
  }

  try {
    context.set_activity("loading the weights");
    const std::unique_ptr<LoadedModel> model = load_model(options, context, inputs, output.checkpoint());
    MemoryGuards guards(context, *model);
    TrainStep train_step({.options = options.train,
                          .context = context,
                          .model = *model,
                          .sampler = steps.sampler,
                          .schedule = steps.learning_rate,
                          .datasets = inputs.train_views,
                          .packing = inputs.packing,
                          .guards = &guards});
    MagnitudeDrift drift(context, *model);
    Counters counters = output.restore(*model, drift.initial(), steps.count);
    Saver saver({options, context, *model, drift.initial(), counters, guards, output});
    RunReport report({options, context, inputs, steps, *model, drift, output.metrics()});
    StragglerWatch stragglers;
    const auto evaluate = [&] {
      const bool is_best = report.evaluate(counters);
      if (is_best && options.train.save_best) saver.save();
    };

    report.log_configuration(counters.step + 1);
    Stop stop = asked_to_stop(context, false);                     // by a signal while the run was loaded
    bool enough = early_stopping_is_due(options.train, counters);  // resumed after its last step
    std::optional<Progress> progress(std::in_place, world.rank() == 0, counters.step + 1, steps.count);
    while (counters.step < steps.count && stop == Stop::kNo && !enough) {
      const std::int64_t step = counters.step + 1;
      context.set_activity(fmt::format("step {}", step));
      // Forward and backward of each micro-batch, sums of gradients over ranks, AdamW, norms.
      const TrainStep::Result done = train_step.run(step);
      counters.step = step;
      counters.tokens += done.tokens;
      output.step_done(step);

      report.report_step(step, done);
      warn_of_a_straggler(context, stragglers, done);
      progress->step(step, done.loss, static_cast<double>(done.tokens) / done.seconds);
      if (is_multiple(step, options.train.check_every)) guards.check(step);
      if (is_multiple(step, options.train.eval_every) && step < steps.count) evaluate();
      enough = early_stopping_is_due(options.train, counters);

      saver.collect();
      const Stop asked =
          asked_to_stop(context, world.rank() == 0 && time_is_up(options, done.seconds + saver.seconds()));
      if (step < steps.count && !enough) stop = asked;
      if (saver.is_due() || stop != Stop::kNo) saver.save();
    }
    progress.reset();  // its last line stands before what is logged at the end
    if (counters.step == steps.count) stop = Stop::kNo;

    TrainSummary summary = report.summary(counters.step, monotonic_seconds() - started);
    saver.wait();
    if (stop != Stop::kNo) return saver.stop_early(summary, stop == Stop::kSignal ? "signal" : "time limit");
    report.log_speed();
    report.log_peak_memory();  // saving and the last evaluation come after: they have memory of their own
    evaluate();
    summary.evaluations = report.evaluations();
    if (options.output.checkpoint_every != 0) saver.save();
    saver.wait();
    return saver.finish(summary);
  } catch (...) {
    output.record_failure();
    throw;
  }
}

}  // namespace shardora
