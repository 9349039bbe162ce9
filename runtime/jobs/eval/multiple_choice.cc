#include "runtime/jobs/eval/multiple_choice.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/session/evaluate.h"

namespace shardora {
namespace {

// Adds the micro-batch's log-probabilities to their sequences'. log p = logit of the target - log sum exp of all.
void add_rows(const Context& context, const Activations& activations, const Batch& batch, std::span<double> sums) {
  const std::int64_t tokens = activations.row_scores.size(1);
  std::vector<float> scores(static_cast<std::size_t>(3 * tokens));
  context.backend.copy_to_host(view_of(std::span(scores), {3, tokens}), activations.row_scores);
  context.backend.synchronize();
  const std::span<const float> row_max = std::span(scores).first(static_cast<std::size_t>(tokens));
  const std::span<const float> exponentials = std::span(scores).subspan(row_max.size(), row_max.size());
  const std::span<const float> targets = std::span(scores).last(row_max.size());
  for (std::size_t row = 0; row < batch.target_rows.size(); ++row) {
    const auto sequence =
        static_cast<std::size_t>(batch.sequence_indices[static_cast<std::size_t>(batch.target_rows[row])]);
    sums[sequence] += double{targets[row]} - double{row_max[row]} - std::log(double{exponentials[row]});
  }
}

// The place of the largest value, the first of equals.
template <class Value>
std::int64_t best_of(const ChoiceSet::Question& question, const Value& value) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < question.options; ++i) {
    if (value(question.first + i) > value(question.first + best)) best = i;
  }
  return best;
}

}  // namespace

std::vector<double> option_log_likelihoods(LoadedModel& model, const Context& context, const ChoiceSet& choices,
                                           const PackingOptions& packing) {
  std::vector<double> all(static_cast<std::size_t>(choices.options().size()), 0.0);
  forward_all(model, context, choices.options(), packing, [&](const Batch& batch, std::int64_t first) {
    add_rows(context, model.activations(), batch, std::span(all).subspan(static_cast<std::size_t>(first)));
  });
  context.grid.data_group->host().all_reduce(view_of(std::span(all), {std::ssize(all)}), Reduction::kSum, {});
  return all;
}

ChoiceScores score_choices(const ChoiceSet& choices, std::span<const double> log_likelihoods, const std::string& name) {
  ChoiceScores scores{.name = name, .questions = choices.size()};
  const auto whole = [&](std::int64_t option) { return log_likelihoods[static_cast<std::size_t>(option)]; };
  const auto per_token = [&](std::int64_t option) {
    return whole(option) / static_cast<double>(choices.options().target_count(option));
  };
  for (std::int64_t q = 0; q < choices.size(); ++q) {
    const ChoiceSet::Question question = choices[q];
    scores.accuracy += best_of(question, whole) == question.answer ? 1 : 0;
    scores.accuracy_per_token += best_of(question, per_token) == question.answer ? 1 : 0;
    scores.chance += 1 / static_cast<double>(question.options);
  }
  const auto count = static_cast<double>(choices.size());
  scores.accuracy /= count;
  scores.accuracy_per_token /= count;
  scores.chance /= count;
  return scores;
}

std::string score_lines(const ChoiceSet& choices, std::span<const double> log_likelihoods, const std::string& name) {
  std::string lines;
  for (std::int64_t q = 0; q < choices.size(); ++q) {
    const ChoiceSet::Question question = choices[q];
    nlohmann::ordered_json line = {{"set", name}, {"question", q}, {"answer", question.answer}};
    for (std::int64_t option = question.first; option < question.first + question.options; ++option) {
      line["log_likelihoods"].push_back(log_likelihoods[static_cast<std::size_t>(option)]);
      line["tokens"].push_back(choices.options().target_count(option));
    }
    lines += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
  return lines;
}

}  // namespace shardora
