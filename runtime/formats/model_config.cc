// config.json as typed values: each family's defaults for what is absent, and a refusal for what we do not compute.
#include <array>
#include <nlohmann/json.hpp>

#include "runtime/formats/model_config_parts.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

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
