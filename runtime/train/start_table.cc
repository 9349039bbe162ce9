#include "runtime/train/start_table.h"

#include <fmt/format.h>

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

}  // namespace shardora
