// What single values cannot say: which keys a command needs, and which do not fit together.
#include "kernels/check.h"
#include "launch/options.h"

namespace shardora {
namespace {

void require_needed(const CommandInfo& command, const RunOptions& options) {
  for (const OptionKey& option : option_table()) {
    if ((option.needed_by & command.bit) == 0 || !option.value.print(options).empty()) continue;
    refuse(ExitStatus::kUsage, "{} is missing: {} needs {}; give --{}=… ({})", option.name, command.name,
           option.value.expected, option.name, option.help);
  }
}

void require(bool fits, const std::string& what) {
  if (!fits) refuse(ExitStatus::kUsage, "{}", what);
}

// What a training run asks of its keys; so does a plan of one.
void check_training(const RunOptions& options) {
  const TrainOptions& train = options.train;
  require(options.model.init == "load" || options.adapter.method == AdapterMethod::kFull,
          "model.init = random: expected adapter.method = full; an adapter of random weights learns nothing");
  const bool frozen = options.adapter.method != AdapterMethod::kFull;
  require(frozen || options.model.dtype != "bfloat16",
          "model.dtype = bfloat16: expected an adapter method; adapter.method = full trains in float32");
  require(frozen || options.model.weight_layouts == "auto",
          "model.weight_layouts is set: expected an adapter method; adapter.method = full has no frozen weights");
  require(train.min_learning_rate <= train.learning_rate,
          fmt::format("train.min_learning_rate = {}: expected at most train.learning_rate = {}",
                      train.min_learning_rate, train.learning_rate));
}

void check_evaluation(const RunOptions& options) {
  const bool choices = !options.eval.choices.empty();
  require(choices || !options.data.eval.empty(),
          "nothing to evaluate: expected data.eval (a dataset file) or eval.choices (multiple-choice questions)");
  require(choices || options.eval.scores.empty(), "eval.scores is set: expected eval.choices to score");
  for (const DataSource& set : options.data.eval) {
    require(set.name != "choices",
            "data.eval: a set is named choices, which the result keeps for eval.choices; give "
            "it another name");
  }
}

// What a plan does without: it may have no length, and measures nothing.
void check_run(const RunOptions& options) {
  const TrainOptions& train = options.train;
  require((train.steps > 0) != (train.epochs > 0),
          fmt::format("train.steps = {} and train.epochs = {}: expected exactly one of them above 0", train.steps,
                      train.epochs));
  const bool evaluates = !options.data.eval.empty();
  require(evaluates || train.eval_every == 0, "train.eval_every is set: expected data.eval to evaluate on");
  require(evaluates || !train.save_best, "train.save_best = true: expected data.eval to tell what is best");
  require((evaluates && train.eval_every > 0) || train.early_stopping == 0,
          "train.early_stopping is set: expected data.eval, and train.eval_every above 0");
}

void check_plan(const RunOptions& options) {
  const TrainOptions& train = options.train;
  const bool shape = !options.plan.shape.empty(), folder = !options.model.path.empty();
  require(shape != folder, fmt::format("plan.shape = '{}' and model.path = '{}': expected exactly one of them",
                                       options.plan.shape, options.model.path));
  require(train.steps == 0 || train.epochs == 0,
          fmt::format("train.steps = {} and train.epochs = {}: expected at most one of them above 0", train.steps,
                      train.epochs));
}

void check_analysis(const RunOptions& options) {
  const AnalyzeOptions& analyze = options.analyze;
  const int given =
      int{!options.adapter.path.empty()} + int{!analyze.tuned.empty()} + int{!analyze.checkpoints.empty()};
  require(given == 1, fmt::format("analyze compares one thing with model.path, {} were given: expected one of "
                                  "adapter.path, analyze.tuned and analyze.checkpoints",
                                  given));
}

void check_generation(const GenerateOptions& generate) {
  require(generate.temperature > 0 || (generate.top_k == 0 && generate.top_p == 1),
          "generate.top_k or generate.top_p is set: expected generate.temperature above 0, as nothing is drawn at 0");
  require(
      generate.beams == 1 || generate.temperature == 0,
      fmt::format("generate.beams = {} and generate.temperature = {}: expected one of beams above 1 and temperature "
                  "above 0",
                  generate.beams, generate.temperature));
}

void check_inspection(const RunOptions& options) {
  const bool checkpoint = options.output.resume != "auto" && options.output.resume != "never";
  require(!options.model.path.empty() || !options.adapter.path.empty() || !options.data.train.empty() ||
              !options.data.eval.empty() || checkpoint,
          "nothing to inspect: expected model.path, adapter.path, data.train, data.eval or output.resume");
}

}  // namespace

void check_options(const CommandInfo& command, const RunOptions& options) {
  require_needed(command, options);
  require(options.model.dtype != "bfloat16" || options.model.weight_layouts != "two",
          "model.weight_layouts = two: expected auto or one with model.dtype = bfloat16, whose one copy serves both "
          "directions");
  if (command.bit == kTrain) check_run(options);
  if (command.bit == kPlan) check_plan(options);
  if ((command.bit & (kTrain | kPlan)) != 0) check_training(options);
  if (command.bit == kEval) check_evaluation(options);
  if (command.bit == kAnalyze) check_analysis(options);
  if (command.bit == kGenerate) check_generation(options.generate);
  if (command.bit == kInspect) check_inspection(options);
}

}  // namespace shardora
