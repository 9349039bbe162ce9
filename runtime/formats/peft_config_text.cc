// Writing adapter_config.json as PEFT does: every key of its LoraConfig, sorted, two spaces deep.
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/formats/peft_parts.h"

namespace shardora {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// PEFT's own adapters say 16, not 16.0.
template <class Json>
Json number(double value) {
  constexpr double kExact = 9e15;
  if (std::abs(value) < kExact && value == std::trunc(value)) return static_cast<std::int64_t>(value);
  return value;
}

ordered_json pattern_or_names(const std::string& pattern, const std::vector<std::string>& names) {
  if (!pattern.empty()) return pattern;
  return names.empty() ? ordered_json() : ordered_json(names);
}

// PEFT refuses layers_to_transform beside a string: "all-linear" of some layers is written as the names it stands for.
ordered_json targets(const PeftConfig& config, const TensorMap& tensors) {
  if (config.target_pattern.empty() || config.layers_to_transform.empty()) {
    return pattern_or_names(config.target_pattern, config.target_modules);
  }
  std::set<std::string> leaves;
  for (const auto& [name, tensor] : tensors) {
    const std::string module = name.substr(0, name.rfind('.'));
    leaves.insert(module.substr(module.rfind('.') + 1));
  }
  return std::vector<std::string>(leaves.begin(), leaves.end());
}

// What PEFT writes for features that are not in use.
json defaults() {
  json document = {{"alpha_pattern", json::object()},
                   {"bias", "none"},
                   {"ensure_weight_tying", false},
                   {"fan_in_fan_out", false},
                   {"inference_mode", true},
                   {"init_lora_weights", true},
                   {"loftq_config", json::object()},
                   {"lora_bias", false},
                   {"megatron_core", "megatron.core"},
                   {"peft_type", "LORA"},
                   {"peft_version", "0.21.2"},
                   {"qalora_group_size", 16},
                   {"rank_pattern", json::object()},
                   {"task_type", "CAUSAL_LM"},
                   {"use_qalora", false}};
  for (const char* key : {"alora_invocation_tokens",
                          "arrow_config",
                          "auto_mapping",
                          "base_model_name_or_path",
                          "corda_config",
                          "eva_config",
                          "exclude_modules",
                          "kasa_config",
                          "layer_replication",
                          "layers_pattern",
                          "layers_to_transform",
                          "lora_ga_config",
                          "megatron_config",
                          "modules_to_save",
                          "monteclora_config",
                          "revision",
                          "target_modules",
                          "target_parameters",
                          "trainable_token_indices",
                          "use_bdlora",
                          "velora_config"}) {
    document[key] = nullptr;
  }
  return document;
}

}  // namespace

std::string peft_config_text(const PeftConfig& config, const TensorMap& tensors) {
  json document = defaults();
  if (!config.base_model_name_or_path.empty()) document["base_model_name_or_path"] = config.base_model_name_or_path;
  document["r"] = config.rank;
  document["lora_alpha"] = number<json>(config.alpha);
  document["lora_dropout"] = config.dropout;
  document["use_dora"] = config.use_dora;
  document["use_rslora"] = config.use_rslora;
  if (!config.layers_to_transform.empty()) document["layers_to_transform"] = config.layers_to_transform;
  if (config.magnitude_axis == "input") {
    document["peft_type"] = "SHARDORA";
    document["shardora_magnitude_axis"] = "input";
  }
  if (config.dropout_scope != "input") document["shardora_dropout_scope"] = config.dropout_scope;

  ordered_json sorted = ordered_json::object();
  for (const auto& [key, value] : document.items()) sorted[key] = value;
  sorted["target_modules"] = targets(config, tensors);
  sorted["exclude_modules"] = pattern_or_names(config.exclude_pattern, config.exclude_modules);
  // In their own order: the first pattern that matches decides.
  for (const auto& [pattern, rank] : config.rank_pattern) sorted["rank_pattern"][pattern] = rank;
  for (const auto& [pattern, alpha] : config.alpha_pattern) {
    sorted["alpha_pattern"][pattern] = number<ordered_json>(alpha);
  }
  return sorted.dump(2, ' ', true);
}

}  // namespace shardora
