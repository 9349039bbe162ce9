// config.json as typed values: each family's defaults for what is absent, and a refusal for what we do not compute.
#include "runtime/formats/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/formats/json.h"
#include "runtime/system/printable.h"

namespace shardora {
// Rotary embeddings in config.json. Older files have rope_theta and rope_scaling, newer ones (transformers 5) the one
// object rope_parameters.

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

// Sliding windows in config.json: which layers have one, and how wide.

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

// Special tokens, as config.json and generation_config.json name them.

constexpr std::int64_t kMaxToken = std::numeric_limits<std::int32_t>::max();

// A token id or a list of them; the key is present and not null.
std::vector<std::int64_t> parse_token_ids(const JsonFields& fields, std::string_view key) {
  const nlohmann::ordered_json& value = *fields.find(key);
  if (!value.is_array()) return {fields.integer(key, 0, kMaxToken)};
  std::vector<std::int64_t> tokens;
  for (const nlohmann::ordered_json& token : value) {
    if (!token.is_number_unsigned() || token.get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxToken)) {
      fields.refuse_value(key, "a token id or a list of them");
    }
    tokens.push_back(token.get<std::int64_t>());
  }
  return tokens;
}

}  // namespace

std::vector<std::int64_t> read_stop_tokens(const std::filesystem::path& folder, const ModelConfig& config) {
  const std::filesystem::path path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return config.eos_token_ids;
  const nlohmann::ordered_json document = read_json(path);
  const JsonFields fields(document, printable(path.string()));
  return fields.has("eos_token_id") ? parse_token_ids(fields, "eos_token_id") : config.eos_token_ids;
}

namespace {

constexpr JsonLimits kConfigLimits = {.bytes = 16'000'000, .depth = 32, .values = 1'000'000};
constexpr std::int64_t kMaxWidth = std::int64_t{1} << 24;
constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 28;

// What transformers assumes where a key is absent.
struct Family {
  std::string_view model_type;
  std::int64_t vocab_size, intermediate_size, max_position_embeddings;
  std::int64_t num_key_value_heads;  // 0: as many as heads
  std::int64_t head_dim;             // 0: hidden_size / heads
  bool has_begin_and_end;            // tokens 1 and 2
};
// A new family of Llama's shape: a row here; what its config.json has beyond the others (windows, biases, norms of q
// and k) below; its tensors' names and shapes in expected_tensors() (model_weights.cc); how they are cut in
// model/placement.cc; how they are loaded in model/decoder_load.cc; a preset in jobs/plan/shapes.cc; a golden case in
// tests/parity.
constexpr std::array<Family, 4> kFamilies = {
    Family{"llama", 32000, 11008, 2048, 0, 0, true},
    Family{"mistral", 32000, 14336, 131072, 8, 0, true},
    Family{"qwen2", 151936, 22016, 32768, 32, 0, false},
    Family{"qwen3", 151936, 22016, 32768, 32, 128, false},
};

const Family& family_of(const JsonFields& fields) {
  const std::string model_type = fields.text("model_type");
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return family;
  }
  fields.refuse_value("model_type", "one of the supported families llama, mistral, qwen2, qwen3");
}

// Keys that change the arithmetic, and the only values of them that we compute.
void refuse_unsupported(const JsonFields& fields) {
  const std::string activation = fields.text_or("hidden_act", "silu");
  if (activation != "silu") fields.refuse_value("hidden_act", "silu");
  for (const char* key : {"quantization_config", "compression_config"}) {
    if (fields.has(key))
      fields.refuse_value(key,
                          "none: load the model in float32, bfloat16 or float16, or remove the key where its "
                          "weights are not quantized");
  }
  for (const char* key : {"attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop"}) {
    if (fields.has(key) && fields.number(key, 0, 1) != 0) fields.refuse_value(key, "0");
  }
  for (const char* key : {"is_encoder_decoder", "add_cross_attention", "use_mrope"}) {
    if (fields.has(key) && fields.boolean(key)) fields.refuse_value(key, "false");
  }
}

void parse_sizes(const JsonFields& fields, const Family& family, ModelConfig& config) {
  config.vocab_size = fields.integer_or("vocab_size", family.vocab_size, 1, kMaxVocabulary);
  config.hidden_size = fields.integer_or("hidden_size", 4096, 1, kMaxWidth);
  config.intermediate_size = fields.integer_or("intermediate_size", family.intermediate_size, 1, kMaxWidth);
  config.num_hidden_layers = fields.integer_or("num_hidden_layers", 32, 1, 10'000);
  config.max_position_embeddings =
      fields.integer_or("max_position_embeddings", family.max_position_embeddings, 1, kMaxToken);
  config.rms_norm_eps = fields.number_or("rms_norm_eps", 1e-6, 0, 1);
  config.initializer_range = fields.number_or("initializer_range", 0.02, 0, 1);
}

void parse_heads(const JsonFields& fields, const Family& family, ModelConfig& config) {
  const std::int64_t heads = config.num_attention_heads = fields.integer_or("num_attention_heads", 32, 1, 65536);
  const std::int64_t key_value_default = family.num_key_value_heads == 0 ? heads : family.num_key_value_heads;
  config.num_key_value_heads = fields.is_null("num_key_value_heads")
                                   ? heads
                                   : fields.integer_or("num_key_value_heads", key_value_default, 1, 65536);
  if (heads % config.num_key_value_heads != 0) {
    fields.refuse_value("num_key_value_heads",
                        fmt::format("a divisor of num_attention_heads {} (assumed where missing: {})", heads,
                                    config.num_key_value_heads));
  }
  // Llama insists on it also where head_dim is given.
  const bool derived = family.head_dim == 0 && (fields.is_null("head_dim") || fields.find("head_dim") == nullptr);
  if ((derived || family.model_type == "llama") && config.hidden_size % heads != 0) {
    fields.refuse_value("hidden_size", fmt::format("a multiple of num_attention_heads {}", heads));
  }
  config.head_dim = derived ? config.hidden_size / heads : fields.integer_or("head_dim", family.head_dim, 1, 65536);
  if (config.head_dim % 2 != 0) {
    fields.refuse_value("head_dim",
                        fmt::format("an even number, for rotary embeddings (it comes to {})", config.head_dim));
  }
}

// A key that a family does not have must not ask for what the family does not do.
bool parse_bias(const JsonFields& fields, const char* key, bool configurable, bool fixed) {
  const bool asked = fields.boolean_or(key, fixed);
  if (!configurable && asked != fixed) fields.refuse_value(key, fmt::format("{} in this family", fixed));
  return asked;
}

void parse_biases(const JsonFields& fields, const Family& family, ModelConfig& config) {
  const bool llama = family.model_type == "llama", qwen2 = family.model_type == "qwen2";
  const bool qwen3 = family.model_type == "qwen3";
  config.attention_bias = parse_bias(fields, "attention_bias", llama || qwen3, qwen2);
  config.attention_output_bias = config.attention_bias && !qwen2;
  config.mlp_bias = parse_bias(fields, "mlp_bias", llama, false);
  config.query_key_norm = qwen3;
  config.tie_word_embeddings = fields.boolean_or("tie_word_embeddings", false);
}

void parse_tokens(const JsonFields& fields, const Family& family, ModelConfig& config) {
  if (family.has_begin_and_end) {
    config.bos_token_id = 1;
    config.eos_token_ids = {2};
  }
  if (fields.find("bos_token_id") != nullptr) config.bos_token_id.reset();
  if (fields.has("bos_token_id")) config.bos_token_id = fields.integer("bos_token_id", 0, kMaxToken);
  const ordered_json* end = fields.find("eos_token_id");
  if (end == nullptr) return;
  config.eos_token_ids.clear();
  if (!end->is_null()) config.eos_token_ids = parse_token_ids(fields, "eos_token_id");
}

std::string parse_dtype(const JsonFields& fields) {
  const char* key = fields.has("dtype") ? "dtype" : "torch_dtype";  // the newer spelling wins
  if (!fields.has(key)) return "";
  std::string dtype = fields.text(key);
  if (dtype != "float32" && dtype != "bfloat16" && dtype != "float16") {
    fields.refuse_value(key, "float32, bfloat16 or float16");
  }
  return dtype;
}

ModelConfig parse(const ordered_json& document, const std::string& name) {
  const JsonFields fields(document, printable(name));
  const Family& family = family_of(fields);
  refuse_unsupported(fields);
  ModelConfig config;
  config.model_type = family.model_type;
  parse_sizes(fields, family, config);
  parse_heads(fields, family, config);
  parse_biases(fields, family, config);
  parse_rope(fields, config);
  parse_sliding_windows(fields, config);
  parse_tokens(fields, family, config);
  config.dtype = parse_dtype(fields);
  return config;
}

}  // namespace

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    refuse(ExitStatus::kBadInput,
           "{}: no such file; a model is a folder of Hugging Face's, as `hf download NAME --local-dir FOLDER` makes it",
           printable(path.string()));
  }
  return parse(read_json(path, kConfigLimits), path.string());
}

ModelConfig parse_model_config(const std::string& text, const std::string& name) {
  return parse(parse_json(text, name, kConfigLimits), name);
}

}  // namespace shardora
