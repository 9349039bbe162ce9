// What single values cannot say: which keys a command needs, and which do not fit together.
#include <algorithm>

#include "kernels/check.h"
#include "launch/options.h"

namespace shardora {
namespace {

struct Rule {
  unsigned commands = 0;  // CommandBits
  bool fits = false;
  std::string told;  // where it does not
};

std::vector<Rule> rules_of(const RunOptions& o) {
  const std::string lengths = fmt::format("train.steps = {} and train.epochs = {}: ", o.train.steps, o.train.epochs);
  const bool frozen = o.adapter.method != AdapterMethod::kFull, evaluates = !o.data.eval.empty(),
             choices = !o.eval.choices.empty(), draws = o.generate.temperature > 0,
             checkpoint = o.output.resume != "auto" && o.output.resume != "never";
  const int compared =
      int{!o.adapter.path.empty()} + int{!o.analyze.tuned.empty()} + int{!o.analyze.checkpoints.empty()};
  const bool choices_is_free =
      std::none_of(o.data.eval.begin(), o.data.eval.end(), [](const DataSource& set) { return set.name == "choices"; });
  constexpr unsigned kRun = kTrain | kPlan;  // a plan may have no length, and measures nothing
  return {
      {~0U, o.model.dtype != "bfloat16" || o.model.weight_layouts != "two",
       "model.weight_layouts = two: expected auto or one with model.dtype = bfloat16, whose one copy serves both "
       "directions"},
      {kTrain, (o.train.steps > 0) != (o.train.epochs > 0), lengths + "expected exactly one of them above 0"},
      {kTrain, evaluates || o.train.eval_every == 0, "train.eval_every is set: expected data.eval to evaluate on"},
      {kTrain, evaluates || !o.train.save_best, "train.save_best = true: expected data.eval to tell what is best"},
      {kTrain, (evaluates && o.train.eval_every > 0) || o.train.early_stopping == 0,
       "train.early_stopping is set: expected data.eval, and train.eval_every above 0"},
      {kPlan, o.plan.shape.empty() != o.model.path.empty(),
       fmt::format("plan.shape = '{}' and model.path = '{}': expected exactly one of them", o.plan.shape,
                   o.model.path)},
      {kPlan, o.train.steps == 0 || o.train.epochs == 0, lengths + "expected at most one of them above 0"},
      {kRun, o.model.init == "load" || !frozen,
       "model.init = random: expected adapter.method = full; an adapter of random weights learns nothing"},
      {kRun, frozen || o.model.dtype != "bfloat16",
       "model.dtype = bfloat16: expected an adapter method; adapter.method = full trains in float32"},
      {kRun, frozen || o.model.weight_layouts == "auto",
       "model.weight_layouts is set: expected an adapter method; adapter.method = full has no frozen weights"},
      {kRun, o.train.min_learning_rate <= o.train.learning_rate,
       fmt::format("train.min_learning_rate = {}: expected at most train.learning_rate = {}", o.train.min_learning_rate,
                   o.train.learning_rate)},
      {kEval, choices || evaluates,
       "nothing to evaluate: expected data.eval (a dataset file) or eval.choices (multiple-choice questions)"},
      {kEval, choices || o.eval.scores.empty(), "eval.scores is set: expected eval.choices to score"},
      {kEval, choices_is_free,
       "data.eval: a set is named choices, which the result keeps for eval.choices; give it another name"},
      {kAnalyze, compared == 1,
       fmt::format("analyze compares one thing with model.path, {} were given: expected one of adapter.path, "
                   "analyze.tuned and analyze.checkpoints",
                   compared)},
      {kGenerate, draws || (o.generate.top_k == 0 && o.generate.top_p == 1),
       "generate.top_k or generate.top_p is set: expected generate.temperature above 0, as nothing is drawn at 0"},
      {kGenerate, o.generate.beams == 1 || !draws,
       fmt::format("generate.beams = {} and generate.temperature = {}: expected one of beams above 1 and temperature "
                   "above 0",
                   o.generate.beams, o.generate.temperature)},
      {kInspect, !o.model.path.empty() || !o.adapter.path.empty() || !o.data.train.empty() || evaluates || checkpoint,
       "nothing to inspect: expected model.path, adapter.path, data.train, data.eval or output.resume"},
  };
}

}  // namespace

void check_options(const CommandInfo& command, const RunOptions& options) {
  RunOptions values = options;
  for (const OptionKey& key : option_table(values)) {
    if ((key.needed_by & command.bit) == 0 || !key.value.print().empty()) continue;
    refuse(ExitStatus::kUsage, "{} is missing: {} needs {}; give --{}=… ({})", key.name, command.name,
           key.value.expected, key.name, key.help);
  }
  for (const Rule& rule : rules_of(options)) {
    if ((rule.commands & command.bit) != 0 && !rule.fits) refuse(ExitStatus::kUsage, "{}", rule.told);
  }
}

}  // namespace shardora
