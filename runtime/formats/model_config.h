// config.json of a Hugging Face model folder, as typed values with the family's defaults. What is not supported is
// refused by name, never approximated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shardora {

enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3 };

// Every number is range-checked. Names as in Hugging Face's config.json.
struct ModelConfig {
  std::string model_type;  // llama, mistral, qwen2, qwen3
  std::int64_t hidden_size = 0, intermediate_size = 0, num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  std::int64_t vocab_size = 0, max_position_embeddings = 0;
  double rms_norm_eps = 1e-6, initializer_range = 0.02;
  bool tie_word_embeddings = false;
  bool attention_bias = false;         // q, k, v have a bias
  bool attention_output_bias = false;  // o has a bias
  bool mlp_bias = false;
  bool query_key_norm = false;                // qwen3
  std::vector<std::int64_t> sliding_windows;  // one a layer; 0: none
  double rope_theta = 10000;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1, rope_low_freq_factor = 1, rope_high_freq_factor = 4;
  std::int64_t rope_original_max_position_embeddings = 0;
  std::string dtype;  // as stored: float32, bfloat16, float16; empty where not said
  std::optional<std::int64_t> bos_token_id;
  std::vector<std::int64_t> eos_token_ids;
};

// Parses and validates. Throws Error(kBadInput) naming the file and key.
ModelConfig read_model_config(const std::filesystem::path& folder);
ModelConfig parse_model_config(const std::string& text, const std::string& name);

// What ends a text: generation_config.json's eos_token_id, one or a list, where the folder has that file and key; else
// the config's. Throws Error(kBadInput) naming the file.
std::vector<std::int64_t> read_stop_tokens(const std::filesystem::path& folder, const ModelConfig& config);

}  // namespace shardora
