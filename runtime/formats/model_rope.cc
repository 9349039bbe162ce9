// Rotary embeddings in config.json. Older files have rope_theta and rope_scaling, newer ones (transformers 5) the one
// object rope_parameters.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "runtime/formats/model_config_parts.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMaxPositions = std::numeric_limits<std::int32_t>::max();
constexpr double kMaxTheta = 1e15, kMinTheta = 1e-3, kMaxFactor = 1e6, kMinFactor = 1e-6;

void refuse_partial(const JsonFields& fields) {
  if (fields.has("partial_rotary_factor") && fields.number("partial_rotary_factor", 0, 1) != 1) {
    fields.refuse_value("partial_rotary_factor", "1");
  }
}

RopeScaling scaling_kind(const JsonFields& rope) {
  const char* key = rope.find("rope_type") != nullptr ? "rope_type" : "type";
  const std::string kind = rope.text_or(key, "default");
  if (kind == "default") return RopeScaling::kNone;
  if (kind == "linear") return RopeScaling::kLinear;
  if (kind == "llama3") return RopeScaling::kLlama3;
  rope.refuse_value(key, "one of the supported types default, linear, llama3");
}

// A key of another type of scaling would be ignored in silence.
void refuse_unknown(const ordered_json& object, const JsonFields& rope, RopeScaling kind) {
  constexpr std::array<std::string_view, 4> kAlways = {"type", "rope_type", "rope_theta", "partial_rotary_factor"};
  constexpr std::array<std::string_view, 4> kScaled = {"factor", "original_max_position_embeddings", "low_freq_factor",
                                                       "high_freq_factor"};
  const std::size_t used = kind == RopeScaling::kLlama3 ? 4 : kind == RopeScaling::kLinear ? 2 : 0;
  for (const auto& [key, value] : object.items()) {
    const bool known = std::find(kAlways.begin(), kAlways.end(), key) != kAlways.end() ||
                       std::find(kScaled.begin(), kScaled.begin() + used, key) != kScaled.begin() + used;
    if (!known && !value.is_null()) rope.refuse_value(key, "no such key for this type of rotary embedding");
  }
}

void parse_scaling(const ordered_json& object, const JsonFields& rope, ModelConfig& config) {
  refuse_partial(rope);
  config.rope_scaling = scaling_kind(rope);
  refuse_unknown(object, rope, config.rope_scaling);
  config.rope_theta = rope.number_or("rope_theta", config.rope_theta, kMinTheta, kMaxTheta);
  if (config.rope_scaling == RopeScaling::kNone) return;
  config.rope_factor = rope.number("factor", kMinFactor, kMaxFactor);
  if (config.rope_scaling == RopeScaling::kLinear) return;
  config.rope_low_freq_factor = rope.number("low_freq_factor", kMinFactor, kMaxFactor);
  config.rope_high_freq_factor = rope.number("high_freq_factor", kMinFactor, kMaxFactor);
  if (config.rope_high_freq_factor <= config.rope_low_freq_factor) {
    rope.refuse_value("high_freq_factor", "more than low_freq_factor");
  }
  config.rope_original_max_position_embeddings =
      rope.has("original_max_position_embeddings") ? rope.integer("original_max_position_embeddings", 1, kMaxPositions)
                                                   : config.max_position_embeddings;
}

bool same_rope(const ModelConfig& left, const ModelConfig& right) {
  return left.rope_theta == right.rope_theta && left.rope_scaling == right.rope_scaling &&
         left.rope_factor == right.rope_factor && left.rope_low_freq_factor == right.rope_low_freq_factor &&
         left.rope_high_freq_factor == right.rope_high_freq_factor &&
         left.rope_original_max_position_embeddings == right.rope_original_max_position_embeddings;
}

}  // namespace

void parse_rope(const JsonFields& fields, ModelConfig& config) {
  refuse_partial(fields);
  if (fields.has("original_max_position_embeddings")) {
    fields.refuse_value("original_max_position_embeddings", "this key inside of rope_scaling or rope_parameters");
  }
  config.rope_theta = fields.number_or("rope_theta", 10000, kMinTheta, kMaxTheta);
  ModelConfig older = config;
  if (fields.has("rope_scaling")) {
    const ordered_json& object = *fields.find("rope_scaling");
    parse_scaling(object, JsonFields(object, fields.where() + ": rope_scaling"), older);
  }
  if (!fields.has("rope_parameters")) {
    config = older;
    return;
  }
  const ordered_json& object = *fields.find("rope_parameters");
  parse_scaling(object, JsonFields(object, fields.where() + ": rope_parameters"), config);
  // transformers takes rope_scaling here, others the newer key: where they disagree nobody knows what was meant.
  if (fields.has("rope_scaling") && !same_rope(config, older)) {
    fields.refuse_value("rope_scaling", "the same as rope_parameters; remove one of them");
  }
}

}  // namespace shardora
