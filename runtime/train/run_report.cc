#include "runtime/train/run_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/observe/device_table.h"

namespace shardora {
namespace {

std::string count(std::int64_t number, const char* one, const char* many) {
  return fmt::format("{} {}", number, number == 1 ? one : many);
}

std::string trained_text(const StartFacts& facts) {
  const std::int64_t sum = facts.trained.logical_elements();
  std::string kinds;
  for (const auto& [kind, parameters] : trained_by_kind(facts.trained)) {
    kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", kind, parameters);
  }
  return fmt::format("{} parameters, {:.3g} % of all: {}", sum,
                     100 * static_cast<double>(sum) / static_cast<double>(facts.parameters), kinds);
}

}  // namespace

std::vector<std::pair<std::string, std::int64_t>> trained_by_kind(const ParameterSet& parameters) {
  constexpr std::pair<ParameterKind, const char*> kKinds[] = {{ParameterKind::kA, "A"},
                                                              {ParameterKind::kB, "B"},
                                                              {ParameterKind::kMagnitude, "m"},
                                                              {ParameterKind::kWeight, "weights"}};
  std::vector<std::pair<std::string, std::int64_t>> counts;
  for (const auto& [kind, name] : kKinds) {
    std::int64_t sum = 0;
    for (const Parameter& parameter : parameters.all()) {
      if (parameter.kind == kind) sum += Shape(parameter.logical_shape).elements();
    }
    if (sum > 0) counts.emplace_back(name, sum);
  }
  return counts;
}

std::string start_table(const StartFacts& facts) {
  std::string text = "this run";
  const auto row = [&](const char* name, const std::string& value) {
    if (!value.empty()) text += fmt::format("\n  {:<18} {}", name, value);
  };
  row("model", fmt::format("{}, {} parameters", facts.model, facts.parameters));
  row("frozen weights", facts.weights);
  row("trained", trained_text(facts));
  row("ranks", fmt::format("{} = {} data x {} tensor", facts.grid.data.size * facts.grid.tensor.size,
                           facts.grid.data.size, facts.grid.tensor.size));
  row("device of rank 0", facts.device);
  row("steps", fmt::format("{} to {}, of {}; the first takes {} on rank 0", facts.first_step, facts.steps,
                           count(facts.sequences, "sequence", "sequences"),
                           count(facts.micro_batches, "micro-batch", "micro-batches")));
  return text + "\n" + to_text(facts.memory);
}

std::int64_t RunReport::parameters_of_the_model() const {
  std::int64_t total = 0;
  for (const NamedShape& tensor : parts_.model.decoder().tensors()) total += Shape(tensor.shape).elements();
  return total;
}

void RunReport::log_configuration(std::int64_t first_step) const {
  const auto& [options, context, inputs, steps, model, drift, metrics] = parts_;
  const std::int64_t first = std::min(first_step, steps.count);
  const std::vector<Batch> batches =
      micro_batches(steps.sampler.plan(first).sequences, inputs.train_views, 0, context.grid.data.size, inputs.packing);
  // The device's description once more: which attention serves has been decided for this run's sequences and type.
  context.log.info(start_table({.model = options.model.path,
                                .weights = model.weights_text(),
                                .device = context.backend.description(),
                                .parameters = parameters_of_the_model(),
                                .trained = model.parameters(),
                                .grid = context.grid,
                                .first_step = first,
                                .steps = steps.count,
                                .sequences = options.train.global_batch,
                                .micro_batches = std::ssize(batches),
                                .memory = model.memory()}));
}

void RunReport::report_step(std::int64_t step, const TrainStep::Result& done) {
  const auto& [options, context, inputs, steps, model, drift, metrics] = parts_;
  tokens_ += done.tokens;
  seconds_ += done.seconds;
  flops_ += done.model_flops;
  if (done.skipped) {
    context.log.warn(
        fmt::format("step {}: loss {} and gradient norm {} are not finite: nothing of it was applied "
                    "(train.skip_nonfinite)",
                    step, done.loss, done.gradient_norm));
  } else {
    last_loss_ = done.loss;
  }
  if (!done.skipped && step % options.output.log_every != 0 && step != steps.count) return;
  const std::optional<StepMetrics::Drift> moved = drift.of_all();
  const double flops_per_second = flops_per_second_of_a_rank(done.model_flops, done.seconds);
  metrics.write({.step = step,
                 .loss = done.loss,
                 .learning_rate = steps.learning_rate(step),
                 .gradient_norm = done.gradient_norm,
                 .tokens = done.tokens,
                 .seconds = done.seconds,
                 .tokens_per_second = static_cast<double>(done.tokens) / done.seconds,
                 .model_flops_per_second = flops_per_second,
                 .model_flops_utilisation = utilisation(flops_per_second),
                 .peak_memory_bytes = model.used_bytes(),
                 .magnitude_drift = moved,
                 .skipped = done.skipped,
                 .phases = done.phases});
}

bool RunReport::evaluate(Counters& counters) {
  const auto& [options, context, inputs, steps, model, drift, metrics] = parts_;
  evaluations_.clear();
  context.set_activity(fmt::format("evaluation after step {}", counters.step));
  if (inputs.eval_sets.empty()) return false;
  double total = 0, targets = 0;
  const std::vector<double> drift_by_layer = drift.by_layer();
  for (std::size_t i = 0; i < inputs.eval_sets.size(); ++i) {
    const Evaluation result =
        evaluate_dataset(model, context, inputs.eval_sets[i], options.data.eval[i].name, inputs.packing);
    metrics.write_evaluation(counters.step, result.name, result.loss, result.perplexity, result.tokens, drift_by_layer);
    total += result.loss * static_cast<double>(result.tokens);
    targets += static_cast<double>(result.tokens);
    evaluations_.push_back(result);
    context.log.info(fmt::format("after step {}: {}loss {:.4f}, perplexity {:.2f} on {} held-out tokens", counters.step,
                                 result.name.empty() ? std::string() : result.name + ": ", result.loss,
                                 result.perplexity, result.tokens));
  }
  const double loss = total / targets;
  const bool better = counters.best_step == 0 || loss < counters.best_loss;
  counters.evaluations_without_gain = better ? 0 : counters.evaluations_without_gain + 1;
  if (!better) return false;
  counters.best_loss = loss;
  counters.best_step = counters.step;
  return true;
}

double RunReport::flops_per_second_of_a_rank(double flops, double seconds) const {
  return flops / seconds / parts_.context.grid.world->size();
}

// Of other products than bfloat16 ones, the device's peak is not known.
std::optional<double> RunReport::utilisation(double flops_per_second) const {
  if (parts_.model.activation_dtype() != DType::kBF16) return {};
  const DeviceFigures* const device = find_device_by_name(parts_.context.backend.device_name());
  return device != nullptr ? std::optional(flops_per_second / device->bf16_flops) : std::nullopt;
}

void RunReport::log_speed() const {
  if (seconds_ <= 0) return;  // nothing was left to do
  const double of_a_rank = flops_per_second_of_a_rank(flops_, seconds_);
  const std::optional<double> share = utilisation(of_a_rank);
  parts_.context.log.info(fmt::format(
      "{:.0f} tokens/s, {:.4g} model TFLOP/s per rank{}", static_cast<double>(tokens_) / seconds_, of_a_rank * 1e-12,
      share ? fmt::format(", {:.1f} % of the device's peak for bfloat16", 100 * *share) : std::string()));
}

void RunReport::log_peak_memory() const {
  constexpr double kMiB = 1 << 20;
  Communicator& world = *parts_.context.grid.world;
  const std::int64_t measured = world.all_reduce(parts_.model.used_bytes(), Reduction::kMax);
  const std::int64_t expected = world.all_reduce(parts_.model.memory().peak_bytes(), Reduction::kMax);
  parts_.context.log.info(fmt::format("peak memory of a rank: {:.1f} MiB; expected before the first step: {:.1f} MiB",
                                      static_cast<double>(measured) / kMiB, static_cast<double>(expected) / kMiB));
}

TrainSummary RunReport::summary(std::int64_t steps, double seconds) const {
  return {.steps = steps,
          .loss = last_loss_,
          .seconds = seconds,
          .tokens_per_second = seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0,
          .trained_parameters = parts_.model.parameters().logical_elements(),
          .total_parameters = parameters_of_the_model()};
}

}  // namespace shardora
