// Reading adapter_config.json: what we compute is taken, what we do not is refused by name.
#include "runtime/formats/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/formats/json.h"
#include "runtime/formats/module_pattern.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMaxRank = 1 << 20, kMaxLayer = 100'000;
constexpr double kMaxAlpha = 1e9;

constexpr std::array<std::string_view, 17> kUsed = {"peft_type",
                                                    "r",
                                                    "lora_alpha",
                                                    "lora_dropout",
                                                    "use_dora",
                                                    "use_rslora",
                                                    "target_modules",
                                                    "exclude_modules",
                                                    "rank_pattern",
                                                    "alpha_pattern",
                                                    "layers_to_transform",
                                                    "base_model_name_or_path",
                                                    "shardora_magnitude_axis",
                                                    "shardora_dropout_scope",
                                                    "bias",
                                                    "modules_to_save",
                                                    "layers_pattern"};
// Where it came from, and what it was; they change nothing that is computed.
constexpr std::array<std::string_view, 5> kNotes = {"peft_version", "inference_mode", "revision", "auto_mapping",
                                                    "eva_config"};

// PEFT's defaults that are not null, false, [] or {}, and values that come to the same.
bool is_harmless(const std::string& key, const ordered_json& value) {
  const bool nothing = value.is_null() || value == false || (value.is_structured() && value.empty());
  if (nothing) return true;
  if (key == "task_type") return value == "CAUSAL_LM";
  if (key == "megatron_core") return value == "megatron.core";
  if (key == "qalora_group_size") return value == 16;
  if (key == "init_lora_weights")
    return value == true || value == "gaussian" || value == "orthogonal" || value == "eva";
  return false;
}

void refuse_unsupported(const ordered_json& document, const JsonFields& fields) {
  if (const ordered_json* const init = fields.find("init_lora_weights");
      init != nullptr && !is_harmless("init_lora_weights", *init)) {
    fields.refuse_value(
        "init_lora_weights",
        "true, false, gaussian, orthogonal or eva: another beginning may have changed the base's weights; "
        "convert the adapter with PEFT's path_initial_model_for_weight_conversion");
  }
  for (const auto& [key, value] : document.items()) {
    const bool known = std::find(kUsed.begin(), kUsed.end(), key) != kUsed.end() ||
                       std::find(kNotes.begin(), kNotes.end(), key) != kNotes.end();
    if (!known && !is_harmless(key, value)) {
      fields.refuse_value(key, "no such key or PEFT's default: this feature is not supported");
    }
  }
}

std::vector<std::string> list_of_names(const JsonFields& fields, const char* key, const ordered_json& value) {
  std::vector<std::string> names;
  for (const ordered_json& name : value) {
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) {
      fields.refuse_value(key, "a list of module names, or one pattern");
    }
    names.push_back(name.get<std::string>());
  }
  return names;
}

// A list of names, or a string that is a pattern.
void parse_modules(const JsonFields& fields, const char* key, std::vector<std::string>& names, std::string& pattern) {
  if (!fields.has(key)) return;
  const ordered_json& value = *fields.find(key);
  if (value.is_array()) {
    names = list_of_names(fields, key, value);
    return;
  }
  pattern = fields.text(key);
  ModulePattern(pattern, ModulePattern::Match::kFull, fields.where() + ": " + key, ExitStatus::kBadInput);
}

template <class Value, class Read>
std::vector<std::pair<std::string, Value>> parse_pattern(const JsonFields& fields, const char* key, Read read) {
  std::vector<std::pair<std::string, Value>> entries;
  if (!fields.has(key)) return entries;
  const ordered_json& object = *fields.find(key);
  const std::string where = fields.where() + ": " + key;
  const JsonFields patterns(object, where);
  for (const auto& [pattern, value] : object.items()) {
    const ModulePattern checked(pattern, ModulePattern::Match::kSuffix, where, ExitStatus::kBadInput);
    entries.emplace_back(pattern, read(patterns, pattern));
  }
  return entries;
}

std::vector<std::int64_t> parse_layers(const JsonFields& fields) {
  constexpr const char* kKey = "layers_to_transform";
  // Any other pattern would look for the layer's number elsewhere in the name.
  if (const ordered_json* pattern = fields.find("layers_pattern");
      pattern != nullptr && !is_harmless("", *pattern) && *pattern != ordered_json("") && *pattern != "layers" &&
      *pattern != ordered_json::array({"layers"})) {
    fields.refuse_value("layers_pattern", "layers, or null");
  }
  if (!fields.has(kKey)) return {};
  const ordered_json& value = *fields.find(kKey);
  if (!value.is_array()) return {fields.integer(kKey, 0, kMaxLayer)};
  std::vector<std::int64_t> layers;
  for (const ordered_json& layer : value) {
    if (!layer.is_number_unsigned() || layer.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxLayer)) {
      fields.refuse_value(kKey, "a layer's number, or a list of them");
    }
    layers.push_back(layer.get<std::int64_t>());
  }
  return layers;
}

void parse_method(const JsonFields& fields, PeftConfig& config) {
  const std::string type = fields.text("peft_type");
  if (type != "LORA" && type != "SHARDORA") fields.refuse_value("peft_type", "LORA (with or without use_dora)");
  config.rank = fields.integer_or("r", 8, 1, kMaxRank);
  config.alpha = fields.number_or("lora_alpha", 8, 0, kMaxAlpha);
  config.dropout = fields.number_or("lora_dropout", 0, 0, 1);
  if (config.dropout == 1) fields.refuse_value("lora_dropout", "less than 1");
  config.use_dora = fields.boolean_or("use_dora", false);
  config.use_rslora = fields.boolean_or("use_rslora", false);
  config.magnitude_axis = fields.text_or("shardora_magnitude_axis", "output");
  config.dropout_scope = fields.text_or("shardora_dropout_scope", "input");
  if (config.magnitude_axis != "output" && config.magnitude_axis != "input") {
    fields.refuse_value("shardora_magnitude_axis", "output or input");
  }
  if (config.dropout_scope != "input" && config.dropout_scope != "adapter") {
    fields.refuse_value("shardora_dropout_scope", "input or adapter");
  }
  if ((config.magnitude_axis == "input") != (type == "SHARDORA")) {
    fields.refuse_value("peft_type", "SHARDORA with shardora_magnitude_axis input, else LORA");
  }
}

}  // namespace

PeftConfig parse_peft_config(const ordered_json& document, const std::string& where) {
  const JsonFields fields(document, where);
  PeftConfig config;
  parse_method(fields, config);
  refuse_unsupported(document, fields);
  if (fields.has("base_model_name_or_path")) config.base_model_name_or_path = fields.text("base_model_name_or_path");
  parse_modules(fields, "target_modules", config.target_modules, config.target_pattern);
  if (config.target_modules.empty() && config.target_pattern.empty()) {
    fields.refuse_value("target_modules", "a list of module names, or a pattern");
  }
  parse_modules(fields, "exclude_modules", config.exclude_modules, config.exclude_pattern);
  config.layers_to_transform = parse_layers(fields);
  config.bias = fields.has("bias") ? fields.text("bias") : "none";
  if (config.bias != "none" && config.bias != "lora_only" && config.bias != "all") {
    fields.refuse_value("bias", "none, lora_only or all");
  }
  if (fields.has("modules_to_save")) {
    config.modules_to_save = list_of_names(fields, "modules_to_save", *fields.find("modules_to_save"));
  }
  config.began_with_eva = fields.has("init_lora_weights") && *fields.find("init_lora_weights") == "eva";
  config.rank_pattern = parse_pattern<std::int64_t>(
      fields, "rank_pattern", [](const auto& patterns, const auto& key) { return patterns.integer(key, 1, kMaxRank); });
  config.alpha_pattern = parse_pattern<double>(fields, "alpha_pattern", [](const auto& patterns, const auto& key) {
    return patterns.number(key, 0, kMaxAlpha);
  });
  return config;
}

// Writing adapter_config.json as PEFT does: every key of its LoraConfig, sorted, two spaces deep.

namespace {

using nlohmann::json;

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
