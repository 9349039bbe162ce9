// Multiple-choice questions scored by likelihood: the sum of log p over each option's own tokens, given all before
// them.
#pragma once

#include <span>
#include <vector>

#include "runtime/data/multiple_choice.h"
#include "runtime/jobs/eval/eval.h"
#include "runtime/session/loaded_model.h"

namespace shardora {
// Log-likelihood (natural logarithm) of each option, in order of choices.options(). Collective; the same on every
// rank. The loaded model was made with row_scores. Dropout is off.
std::vector<double> option_log_likelihoods(LoadedModel& model, const Context& context, const ChoiceSet& choices,
                                           const PackingOptions& packing);

ChoiceScores score_choices(const ChoiceSet& choices, std::span<const double> log_likelihoods, const std::string& name);

// A line a question: {"set", "question", "answer", "log_likelihoods", "tokens"}.
std::string score_lines(const ChoiceSet& choices, std::span<const double> log_likelihoods, const std::string& name);

}  // namespace shardora
