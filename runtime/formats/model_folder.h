// A Hugging Face model folder: config.json as typed values with the family's defaults, and its *.safetensors, one file
// or many with an index. What is not supported is refused by name, never approximated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/formats/safetensors.h"

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

// The logical tensors that a model of this config has on disk, with their shapes: the strict list that loading,
// exporting and merging use. The head is absent where it is tied.
struct NamedShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
std::vector<NamedShape> expected_tensors(const ModelConfig& config);
// The linear layers that can be adapted, by name.
std::vector<std::string> linear_modules(const ModelConfig& config);

// The weights of a folder, opened and checked against the config: nothing missing, nothing extra (buffers such as
// rotary_emb.inv_freq and a tied lm_head.weight are known and skipped), nothing misshapen, all before bytes are read.
class ModelWeights {
 public:
  ModelWeights(const std::filesystem::path& folder, const ModelConfig& config);
  const SafetensorsFile& file_of(const std::string& tensor) const;
  const std::vector<std::string>& names() const { return names_; }  // in expected_tensors order
  // File layout, for writers that mirror it: file name -> tensors in the order of their bytes.
  std::vector<std::pair<std::string, std::vector<std::string>>> layout() const;
  // Whether the model's tensor `name` has these values, in the `part`-th of `parts` stretches of rows. The head of a
  // tied model is the one that is stored, else the embedding.
  bool has_values(const std::string& name, const StoredTensor& other, int part = 0, int parts = 1) const;
  // Whether a tied model stores a head that, in this part, is not its embedding.
  bool has_another_head(int part = 0, int parts = 1) const;
  std::string fingerprint() const;  // of names, shapes, types and sizes, for the handshake; reads no weights

 private:
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_index_;
  std::vector<std::string> names_;
  const SafetensorsFile* tied_head_ = nullptr;  // of files_: where a tied model stores its head
};

// Where has_another_head(): such a model has the head that is stored. Opens its weights anew, and returns a line that
// says so.
std::string use_stored_head(const std::filesystem::path& folder, ModelConfig& config,
                            std::optional<ModelWeights>& weights);

}  // namespace shardora
