#include "runtime/jobs/eval/eval.h"

#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/jobs/eval/multiple_choice.h"
#include "runtime/session/evaluate.h"
#include "runtime/system/files.h"

namespace shardora {
namespace {

struct OpenSets {
  ModelFiles files;
  std::vector<Dataset> sets;
  std::vector<ChoiceSet> choices;
};

void open_sets(const RunOptions& options, OpenSets& open) {
  const ModelConfig& config = open.files.config;
  for (const DataSource& source : options.data.eval) open.sets.push_back(open_dataset(source, config, options.data));
  for (const DataSource& source : options.eval.choices) {
    open.choices.emplace_back(source.path, config.vocab_size, config.max_position_embeddings);
  }
}

ModelUse plan_for(const OpenSets& open, const PackingOptions& packing) {
  ModelUse plan{.row_scores = !open.choices.empty()};
  const auto add = [&](const Dataset& dataset) {
    const Dataset* const one[] = {&dataset};
    make_room(plan, one, kEvaluationSequences, packing);
  };
  for (const Dataset& dataset : open.sets) add(dataset);
  for (const ChoiceSet& choices : open.choices) add(choices.options());
  return plan;
}

Fingerprint fingerprint_of(const OpenSets& open) {
  Fingerprint fingerprint = {{"model", open.files.fingerprint + open.files.adapter_fingerprint}};
  for (const Dataset& dataset : open.sets) fingerprint.emplace_back("data", dataset.fingerprint());
  for (const ChoiceSet& choices : open.choices) fingerprint.emplace_back("choices", choices.fingerprint());
  return fingerprint;
}

nlohmann::ordered_json figures_of(const ChoiceScores& one) {
  return {{"questions", one.questions},
          {"accuracy", one.accuracy},
          {"accuracy_per_token", one.accuracy_per_token},
          {"chance", one.chance}};
}

}  // namespace

nlohmann::ordered_json to_json(const EvalSummary& summary) {
  nlohmann::ordered_json all = to_json(summary.sets);
  if (summary.choices.empty()) return all;
  nlohmann::ordered_json& choices = all["choices"] = nlohmann::ordered_json::object();
  for (const ChoiceScores& one : summary.choices) {
    if (one.name.empty()) {
      choices = figures_of(one);
      break;
    }
    choices[one.name] = figures_of(one);
  }
  return all;
}

EvalSummary evaluate(const RunOptions& options, const Context& context) {
  const bool writes = context.grid.world->rank() == 0 && !options.eval.scores.empty();
  agree(*context.grid.world, [&] {
    if (writes) require_place("eval.scores", options.eval.scores);
  });
  OpenSets open{.files = open_model_files(options, context)};
  agree(*context.grid.world, [&] { open_sets(options, open); });
  require_agreement(*context.grid.world, fingerprint_of(open));
  const PackingOptions packing{options.train.micro_batch_tokens, options.data.packing};
  LoadedModel model(options, context, open.files, plan_for(open, packing));
  EvalSummary summary;
  for (std::size_t i = 0; i < open.sets.size(); ++i) {
    summary.sets.push_back(evaluate_dataset(model, context, open.sets[i], options.data.eval[i].name, packing));
  }
  std::string lines;
  for (std::size_t i = 0; i < open.choices.size(); ++i) {
    const std::string& name = options.eval.choices[i].name;
    const std::vector<double> likelihoods = option_log_likelihoods(model, context, open.choices[i], packing);
    summary.choices.push_back(score_choices(open.choices[i], likelihoods, name));
    lines += score_lines(open.choices[i], likelihoods, name);
  }
  agree(*context.grid.world, [&] {
    if (writes) replace_file(options.eval.scores, lines);
  });
  return summary;
}

}  // namespace shardora
