// The table of commands, and what is looked up in that of keys.
#include <algorithm>
#include <cctype>
#include <numeric>

#include "launch/option_table.h"

namespace shardora {
namespace {

// Insertions, deletions and replacements that make one text of the other; at least `limit` where their lengths alone
// show that.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= limit) return limit;
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j + 1] + 1, row[j] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

const std::vector<CommandInfo>& command_table() {
  static const std::vector<CommandInfo> commands = {
      {"train", kTrain, "adapts a frozen model, or trains all of it"},
      {"eval", kEval, "loss and perplexity of a model, with or without an adapter, on a dataset"},
      {"merge", kMerge, "folds an adapter into its base model"},
      {"generate", kGenerate, "continues prompts given as token ids"},
      {"plan", kPlan, "memory, speed, traffic and disk of a training run, before it is started (one rank)", kTrain},
      {"doctor", kDoctor,
       "the launch, the devices, the network and output.dir: a table, a short self-test, and what to do", kTrain},
      {"analyze", kAnalyze, "how far each layer has moved from its base, in magnitude and in direction"},
      {"inspect", kInspect, "what is in a model folder, an adapter, a dataset or a checkpoint (one rank)"},
  };
  return commands;
}

std::string OptionKey::variable() const {
  std::string result = "SHARDORA_";
  for (const char c : name) result += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

const OptionKey* find_option(std::string_view name) {
  for (const OptionKey& option : option_table()) {
    if (option.name == name) return &option;
  }
  return nullptr;
}

std::string commands_of(unsigned bits) {
  std::string names;
  for (const CommandInfo& command : command_table()) {
    if ((bits & command.bit) != 0) names += (names.empty() ? "" : ", ") + command.name;
  }
  return names;
}

std::string nearest_option(std::string_view name, unsigned bits) {
  const std::string_view key = name.substr(name.find('.') + 1);      // all of it where there is no dot
  std::size_t best = std::max<std::size_t>(2, name.size() / 3) + 1;  // further away nothing is alike
  std::string nearest;
  for (const OptionKey& option : option_table()) {
    if ((option.used_by & bits) == 0) continue;
    // The right key in the wrong section, or in none, costs one.
    const std::size_t distance =
        std::min(edit_distance(name, option.name, best), edit_distance(key, option.key(), best) + 1);
    if (distance >= best) continue;
    best = distance;
    nearest = option.name;
  }
  return nearest;
}

}  // namespace shardora
