// The parts of config.json, one function each: used by model_config.cc, the last by model_tokens.cc itself as well.
#pragma once

#include <limits>

#include "runtime/formats/json.h"
#include "runtime/formats/model_folder.h"

namespace shardora {

void parse_rope(const JsonFields& fields, ModelConfig& config);             // model_rope.cc
void parse_sliding_windows(const JsonFields& fields, ModelConfig& config);  // model_windows.cc

inline constexpr std::int64_t kMaxToken = std::numeric_limits<std::int32_t>::max();
// A token id or a list of them; the key is present and not null.
std::vector<std::int64_t> parse_token_ids(const JsonFields& fields, std::string_view key);  // model_tokens.cc

}  // namespace shardora
