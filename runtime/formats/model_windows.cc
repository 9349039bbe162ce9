// Sliding windows in config.json: which layers have one, and how wide.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/formats/model_config_parts.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMaxWindow = std::numeric_limits<std::int32_t>::max();

// Absent: 4096. Null: none.
std::int64_t window_of(const JsonFields& fields) {
  return fields.is_null("sliding_window") ? 0 : fields.integer_or("sliding_window", 4096, 1, kMaxWindow);
}

// layer_types as windows, or nothing where the key is absent.
std::optional<std::vector<std::int64_t>> listed_windows(const JsonFields& fields, const ModelConfig& config,
                                                        std::int64_t window) {
  if (!fields.has("layer_types")) return std::nullopt;
  const ordered_json& types = *fields.find("layer_types");
  if (!types.is_array() || std::cmp_not_equal(types.size(), config.num_hidden_layers)) {
    fields.refuse_value("layer_types", fmt::format("a list of {} types, one a layer", config.num_hidden_layers));
  }
  std::vector<std::int64_t> windows;
  for (const ordered_json& type : types) {
    if (type != "full_attention" && type != "sliding_attention") {
      fields.refuse_value("layer_types", "full_attention and sliding_attention only");
    }
    windows.push_back(type == "sliding_attention" ? window : 0);
    if (type == "sliding_attention" && window == 0) {
      fields.refuse_value("layer_types", "no sliding_attention, as no window is in use; set sliding_window");
    }
  }
  return windows;
}

}  // namespace

void parse_sliding_windows(const JsonFields& fields, ModelConfig& config) {
  const auto layers = static_cast<std::size_t>(config.num_hidden_layers);
  const bool qwen = config.model_type == "qwen2" || config.model_type == "qwen3";
  config.sliding_windows.assign(layers, 0);
  if (!qwen && fields.has("use_sliding_window") && fields.boolean("use_sliding_window") &&
      config.model_type != "mistral") {
    fields.refuse_value("use_sliding_window", "false in this family");
  }
  if (config.model_type == "llama" && fields.has("sliding_window")) {
    fields.refuse_value("sliding_window", "none in this family");
  }
  std::int64_t window = 0;
  if (config.model_type == "mistral") {
    window = window_of(fields);
    config.sliding_windows.assign(layers, window);
  }
  if (qwen && fields.boolean_or("use_sliding_window", false)) {
    window = window_of(fields);
    const auto first =
        std::min<std::int64_t>(fields.integer_or("max_window_layers", 28, 0, kMaxWindow), config.num_hidden_layers);
    std::fill(config.sliding_windows.begin() + first, config.sliding_windows.end(), window);
  }
  const auto listed = listed_windows(fields, config, window);
  if (!listed) return;
  // The other families do not read the key: it may only repeat what they do.
  if (!qwen && *listed != config.sliding_windows) {
    fields.refuse_value("layer_types", "the same type for all layers in this family, as sliding_window says");
  }
  config.sliding_windows = *listed;
}

}  // namespace shardora
