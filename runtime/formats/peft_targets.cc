// Which linear modules an adapter targets: PEFT's rules, with an error where PEFT would quietly adapt less than asked.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>
#include <set>

#include "runtime/formats/module_pattern.h"
#include "runtime/formats/peft_adapter.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr const char* kHead = "lm_head";

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return text;
}

bool names(const std::string& target, const std::string& module) {
  return module == target || module.ends_with("." + target);
}

bool is_head(const std::string& module) { return names(kHead, module); }

// What a pattern must not match, as PEFT cannot adapt it or we do not: everything around the linear modules.
std::set<std::string> other_modules(const std::vector<std::string>& linear_modules) {
  std::set<std::string> others = {kHead, "model.embed_tokens", "model.norm"};
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

}  // namespace shardora
