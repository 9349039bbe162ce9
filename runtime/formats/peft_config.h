// adapter_config.json of a PEFT adapter, in and out.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/formats/safetensors.h"

namespace shardora {

// The content of adapter_config.json, and our own extension of it.
struct PeftConfig {
  std::string base_model_name_or_path;
  std::int64_t rank = 8;
  double alpha = 8;
  double dropout = 0;
  bool use_dora = false;
  bool use_rslora = false;
  std::vector<std::string> target_modules;  // a list; empty when target_pattern is set
  std::string target_pattern;               // a string: "all-linear", or a full-match regular expression
  std::vector<std::string> exclude_modules;
  std::string exclude_pattern;
  std::vector<std::int64_t> layers_to_transform;                   // empty: all
  std::vector<std::pair<std::string, std::int64_t>> rank_pattern;  // in file order: the first match counts
  std::vector<std::pair<std::string, double>> alpha_pattern;
  std::string magnitude_axis = "output";  // "input" is written as peft_type SHARDORA
  std::string dropout_scope = "input";    // kept in our own key, which PEFT's maths equals only for "input"
  // What settle_adapter() takes out.
  std::string bias = "none";  // "lora_only", "all": what was trained beside the adapter
  std::vector<std::string> modules_to_save;
  bool began_with_eva = false;
};

// Error(kBadInput) starting with `where`.
PeftConfig parse_peft_config(const nlohmann::ordered_json& document, const std::string& where);
// Every key of PEFT's LoraConfig, sorted, two spaces deep.
std::string peft_config_text(const PeftConfig& config, const TensorMap& tensors);

}  // namespace shardora
