// The halves of a PEFT adapter: used by peft_adapter.cc only.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/formats/peft_adapter.h"

namespace shardora {

// adapter_config.json. Error(kBadInput) starting with `where`.
PeftConfig parse_peft_config(const nlohmann::ordered_json& document, const std::string& where);  // peft_config.cc
std::string peft_config_text(const PeftConfig& config, const TensorMap& tensors);                // peft_config_text.cc

// adapter_model.safetensors: `tensors`, with the names of peft_adapter.h, and `copies`.           // peft_tensors.cc
void read_peft_tensors(const std::filesystem::path& path, PeftAdapter& adapter);
inline constexpr std::string_view kPeftPrefix = "base_model.model.";
// That the tensors are those of the config: A, B and, for DoRA, m of each module; their shapes; the ranks.
void require_peft_tensors(const PeftConfig& config, const TensorMap& tensors, const std::string& where);

}  // namespace shardora
