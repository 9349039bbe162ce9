#include "runtime/train/held_out.h"

#include <fmt/format.h>

namespace shardora {

bool HeldOutSets::evaluate(Counters& counters) {
  const auto& [options, context, inputs, model, drift, metrics] = parts_;
  latest_.clear();
  context.grid.world->at(fmt::format("evaluation after step {}", counters.step));
  if (inputs.eval_sets.empty()) return false;
  double total = 0, targets = 0;
  const std::vector<double> drift_by_layer = drift.by_layer();
  for (std::size_t i = 0; i < inputs.eval_sets.size(); ++i) {
    const Evaluation result =
        evaluate_dataset(model, context, inputs.eval_sets[i], options.data.eval[i].name, inputs.packing);
    metrics.write_evaluation(counters.step, result.name, result.loss, result.perplexity, result.tokens, drift_by_layer);
    total += result.loss * static_cast<double>(result.tokens);
    targets += static_cast<double>(result.tokens);
    latest_.push_back(result);
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

}  // namespace shardora
