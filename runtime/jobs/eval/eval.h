// The evaluation job. All ranks call; the result is the same on every rank.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/session/context.h"
#include "runtime/session/evaluate.h"

namespace shardora {

// What a model makes of a file of multiple-choice questions. It chooses the option of the highest log-likelihood, the
// first of equals.
struct ChoiceScores {
  std::string name;  // empty for a single file
  std::int64_t questions = 0;
  double accuracy = 0;            // share of questions whose right option is chosen
  double accuracy_per_token = 0;  // the same, by the log-likelihood over the option's count of tokens
  double chance = 0;              // of a choice at random
};

struct EvalSummary {
  std::vector<Evaluation> sets;
  std::vector<ChoiceScores> choices;
};
// model.path, optional adapter.path, data.eval, eval.*.
EvalSummary evaluate(const RunOptions& options, const Context& context);
// One object of figures for a single set, else one a set by its name; under "choices" the same of the questions.
nlohmann::ordered_json to_json(const EvalSummary& summary);

}  // namespace shardora
