// Which linear modules an adapter targets: PEFT's rules, with an error where PEFT would quietly adapt less than asked.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>
#include <set>

#include "runtime/formats/json.h"
#include "runtime/formats/module_pattern.h"
#include "runtime/formats/peft_adapter.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr const char* kHeadModule = "lm_head";

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return text;
}

bool names(const std::string& target, const std::string& module) {
  return module == target || module.ends_with("." + target);
}

bool is_head(const std::string& module) { return names(kHeadModule, module); }

// What a pattern must not match, as PEFT cannot adapt it or we do not: everything around the linear modules.
std::set<std::string> other_modules(const std::vector<std::string>& linear_modules) {
  std::set<std::string> others = {kHeadModule, "model.embed_tokens", "model.norm"};
  for (const std::string& module : linear_modules) {
    for (std::size_t dot = module.find('.'); dot != std::string::npos; dot = module.find('.', dot + 1)) {
      others.insert(module.substr(0, dot));
    }
  }
  return others;
}

class Selection {
 public:
  Selection(const PeftConfig& config, const std::vector<std::string>& linear_modules)
      : config_(config), all_(lower(config.target_pattern) == "all-linear") {
    require_one_spelling();
    if (!config.exclude_pattern.empty()) exclude_ = pattern("exclude_modules", config.exclude_pattern);
    if (all_) return;
    if (config.target_pattern.empty()) {
      require_targets(linear_modules);
      return;
    }
    target_ = pattern("target_modules", config.target_pattern);
    for (const std::string& other : other_modules(linear_modules)) {
      if (!target_->matches(other)) continue;
      refuse(ExitStatus::kUsage, "target_modules: '{}' also matches {}, which is not adapted; name linear layers only",
             printable(config.target_pattern), printable(other));
    }
  }

  bool includes(const std::string& module) const {
    if (is_head(module) || excluded(module)) return false;
    if (target_) return target_->matches(module);
    const auto& targets = config_.target_modules;
    if (!all_ && std::none_of(targets.begin(), targets.end(), [&](const auto& t) { return names(t, module); })) {
      return false;
    }
    const auto& layers = config_.layers_to_transform;
    return layers.empty() || std::find(layers.begin(), layers.end(), layer_of(module)) != layers.end();
  }

 private:
  static std::unique_ptr<ModulePattern> pattern(const std::string& key, const std::string& text) {
    return std::make_unique<ModulePattern>(text, ModulePattern::Match::kFull, key, ExitStatus::kUsage);
  }

  void require_one_spelling() const {
    if (config_.target_pattern.empty() == config_.target_modules.empty()) {
      refuse(ExitStatus::kUsage, "target_modules: expected either a list of names or one pattern");
    }
    if (!all_ && !config_.target_pattern.empty() && !config_.layers_to_transform.empty()) {
      refuse(ExitStatus::kUsage,
             "layers_to_transform: cannot be used with the pattern '{}' in target_modules; put the layers into it",
             printable(config_.target_pattern));
    }
  }

  bool excluded(const std::string& module) const {
    if (exclude_) return exclude_->matches(module);
    const auto& excludes = config_.exclude_modules;
    return std::any_of(excludes.begin(), excludes.end(), [&](const auto& e) { return names(e, module); });
  }

  void require_targets(const std::vector<std::string>& linear_modules) const {
    for (const std::string& target : config_.target_modules) {
      if (is_head(target)) {
        refuse(ExitStatus::kUsage, "target_modules: the output head '{}' cannot be adapted; leave it out",
               printable(target));
      }
      if (std::none_of(linear_modules.begin(), linear_modules.end(), [&](const auto& m) { return names(target, m); })) {
        refuse(ExitStatus::kUsage, "target_modules: '{}' matches no linear module of this model, which has {} and such",
               printable(target), linear_modules.empty() ? "none" : printable(linear_modules.front()));
      }
    }
  }

  const PeftConfig& config_;
  bool all_;
  std::unique_ptr<ModulePattern> target_, exclude_;
};

// rank_pattern and alpha_pattern: the first key that matches decides.
template <class Value>
class Patterns {
 public:
  Patterns(const char* key, const std::vector<std::pair<std::string, Value>>& entries,
           const std::vector<std::string>& linear_modules) {
    for (const auto& [text, value] : entries) {
      ModulePattern pattern(text, ModulePattern::Match::kSuffix, key, ExitStatus::kUsage);
      if (std::none_of(linear_modules.begin(), linear_modules.end(),
                       [&](const auto& m) { return pattern.matches(m); })) {
        refuse(ExitStatus::kUsage, "{}: '{}' matches no linear module of this model", key, printable(text));
      }
      entries_.emplace_back(std::move(pattern), value);
    }
  }
  Value value_of(const std::string& module, Value fallback) const {
    const auto found =
        std::find_if(entries_.begin(), entries_.end(), [&](const auto& entry) { return entry.first.matches(module); });
    return found == entries_.end() ? fallback : found->second;
  }

 private:
  std::vector<std::pair<ModulePattern, Value>> entries_;
};

void require_layers(const std::vector<std::int64_t>& layers, const std::vector<std::string>& linear_modules) {
  for (const std::int64_t layer : layers) {
    if (std::any_of(linear_modules.begin(), linear_modules.end(),
                    [&](const auto& m) { return layer_of(m) == layer; })) {
      continue;
    }
    refuse(ExitStatus::kUsage, "layers_to_transform: the model has no layer {}", layer);
  }
}

}  // namespace

std::int64_t layer_of(const std::string& module) {
  std::size_t begin = 0;
  for (int segment = 0; begin < module.size(); ++segment) {
    const std::size_t end = module.find('.', begin);
    if (end == std::string::npos) return -1;
    std::int64_t number = 0;
    const auto [stop, error] = std::from_chars(module.data() + begin, module.data() + end, number);
    if (segment >= 2 && end > begin && error == std::errc() && stop == module.data() + end) return number;
    begin = end + 1;
  }
  return -1;
}

std::vector<TargetModule> select_targets(const PeftConfig& config, const std::vector<std::string>& linear_modules) {
  const Selection selection(config, linear_modules);
  require_layers(config.layers_to_transform, linear_modules);
  const Patterns<std::int64_t> ranks("rank_pattern", config.rank_pattern, linear_modules);
  const Patterns<double> alphas("alpha_pattern", config.alpha_pattern, linear_modules);
  std::vector<TargetModule> targets;
  for (const std::string& module : linear_modules) {
    if (!selection.includes(module)) continue;
    targets.push_back({module, ranks.value_of(module, config.rank), alphas.value_of(module, config.alpha)});
  }
  if (targets.empty()) {
    refuse(ExitStatus::kUsage,
           "target_modules: nothing is left to adapt after exclude_modules and layers_to_transform");
  }
  return targets;
}

namespace {

const std::string& name_of(const std::string& name) { return name; }
std::string name_of(std::int64_t layer) { return std::to_string(layer); }
template <class Value>
const std::string& name_of(const std::pair<std::string, Value>& entry) {
  return entry.first;
}

template <class Entries, class Has>
void drop_dead(const char* key, Entries& entries, const Has& has, std::vector<std::string>& dead) {
  const auto end = std::stable_partition(entries.begin(), entries.end(), has);
  for (auto entry = end; entry != entries.end(); ++entry) {
    dead.push_back(fmt::format("{} '{}'", key, printable(name_of(*entry))));
  }
  entries.erase(end, entries.end());
}

// Entries of an adapter that is read, which match nothing in this model. What the user asks for is select_targets()'s.
std::vector<std::string> drop_dead_names(PeftConfig& config, const std::vector<std::string>& modules) {
  std::vector<std::string> dead;
  const auto any = [&](const auto& matches) { return std::any_of(modules.begin(), modules.end(), matches); };
  const auto is_target = [&](const std::string& target) {
    return is_head(target) || any([&](const auto& module) { return names(target, module); });
  };
  const auto& targets = config.target_modules;
  if (std::any_of(targets.begin(), targets.end(), is_target)) {  // else it is another model's
    drop_dead("target_modules", config.target_modules, is_target, dead);
  }
  const auto matches = [&](const auto& entry) {
    const ModulePattern pattern(entry.first, ModulePattern::Match::kSuffix, "adapter", ExitStatus::kBadInput);
    return any([&](const auto& module) { return pattern.matches(module); });
  };
  drop_dead("rank_pattern", config.rank_pattern, matches, dead);
  drop_dead("alpha_pattern", config.alpha_pattern, matches, dead);
  const auto is_layer = [&](std::int64_t layer) {
    return any([&](const auto& module) { return layer_of(module) == layer; });
  };
  const auto& layers = config.layers_to_transform;
  if (std::any_of(layers.begin(), layers.end(), is_layer)) {
    drop_dead("layers_to_transform", config.layers_to_transform, is_layer, dead);
  }
  return dead;
}

std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

// The base's names of the adapter's copies, once all are known to be equal.
std::vector<std::string> compare_copies(const PeftAdapter& adapter, const ModelConfig& config, const ModelWeights* base,
                                        int part, int parts) {
  std::vector<std::string> copies;
  if (adapter.copies.empty()) return copies;
  const SafetensorsFile file(adapter.file);
  const std::vector<NamedShape> tensors = expected_tensors(config);
  for (const std::string& name : adapter.copies) {
    std::string own = name.substr(kPeftPrefix.size());
    constexpr std::string_view kWrapped = ".base_layer.";
    if (const auto at = own.find(kWrapped); at != std::string::npos) own.replace(at, kWrapped.size(), ".");
    const bool known = own == "lm_head.weight" || std::any_of(tensors.begin(), tensors.end(),
                                                              [&](const auto& tensor) { return tensor.name == own; });
    if (!known) {
      refuse(ExitStatus::kBadInput, "{}: tensor '{}' is not part of a LoRA or DoRA adapter of linear layers",
             printable(adapter.file.string()), printable(name));
    }
    if (base != nullptr && !base->has_values(own, {file, name}, part, parts)) {
      refuse(
          ExitStatus::kBadInput,
          "{}: tensor '{}' differs from the base's, and is not part of a LoRA or DoRA adapter of linear layers: it was "
          "trained beside it, or the vocabulary was changed; use that base, or save the adapter without it "
          "(save_pretrained with save_embedding_layers=False)",
          printable(adapter.file.string()), printable(name));
    }
    copies.push_back(own);
  }
  return copies;
}

// That nothing was trained beside the adapter which is not in its file.
void require_copies(const PeftAdapter& adapter, const ModelConfig& config, const std::vector<std::string>& modules,
                    const std::vector<std::string>& copies, std::vector<std::string>& lines) {
  const PeftConfig& peft = adapter.config;
  const std::string where = printable(adapter.file.string());
  if (peft.bias != "none") {
    std::set<std::string> trained;
    for (const TargetModule& target : select_targets(peft, modules)) trained.insert(target.name);
    bool has_biases = false;
    for (const NamedShape& tensor : expected_tensors(config)) {
      if (!tensor.name.ends_with(".bias")) continue;
      if (peft.bias == "lora_only" && !trained.contains(module_of(tensor.name))) continue;
      has_biases = true;
      if (std::find(copies.begin(), copies.end(), tensor.name) != copies.end()) continue;
      refuse(ExitStatus::kBadInput,
             "{}: bias is \"{}\", and the model has {}, which is not there: expected the base's own biases in the "
             "file, or "
             "bias none; trained biases are not supported",
             where, peft.bias, tensor.name);
    }
    lines.push_back(fmt::format("{}: bias = {} changes nothing: {}", where, peft.bias,
                                has_biases ? "its biases equal the base's" : "the adapted layers have no biases"));
  }
  const auto is_in = [](const std::string& module, const std::vector<std::string>& tensors) {
    return std::any_of(tensors.begin(), tensors.end(), [&](const auto& t) { return names(module, module_of(t)); });
  };
  std::vector<std::string> all = {"lm_head.weight"};
  for (const NamedShape& tensor : expected_tensors(config)) all.push_back(tensor.name);
  for (const std::string& module : peft.modules_to_save) {
    if (is_in(module, copies)) continue;
    if (!is_in(module, all)) {
      lines.push_back(
          fmt::format("{}: modules_to_save '{}' is left out: this model lacks it", where, printable(module)));
      continue;
    }
    refuse(ExitStatus::kBadInput,
           "{}: modules_to_save names '{}', whose weights are not there: expected none, or the base's own", where,
           printable(module));
  }
}

}  // namespace

std::vector<std::string> settle_adapter(PeftAdapter& adapter, const ModelConfig& config, const ModelWeights* base,
                                        int part, int parts) {
  std::vector<std::string> lines;
  PeftConfig& peft = adapter.config;
  const std::string where = printable(adapter.file.string());
  const std::vector<std::string> modules = linear_modules(config);
  if (const std::vector<std::string> dead = drop_dead_names(peft, modules); !dead.empty()) {
    lines.push_back(
        fmt::format("{}: left out as by PEFT, for this model lacks them: {}", where, fmt::join(dead, ", ")));
  }
  if (peft.began_with_eva) {
    lines.push_back(fmt::format("{}: init_lora_weights = eva changes nothing once an adapter is stored", where));
  }
  const std::vector<std::string> copies = compare_copies(adapter, config, base, part, parts);
  if (!copies.empty()) {
    lines.push_back(fmt::format(
        "{}: {}: {}", where, base != nullptr ? "left out, for they equal the base's" : "not compared with the base's",
        fmt::join(copies, ", ")));
  }
  require_copies(adapter, config, modules, copies, lines);
  adapter.copies.clear();
  peft.bias = "none";
  peft.modules_to_save.clear();
  peft.began_with_eva = false;
  return lines;
}

}  // namespace shardora
