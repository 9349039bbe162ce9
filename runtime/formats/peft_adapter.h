// A PEFT adapter folder, in and out: adapter_config.json and adapter_model.safetensors exactly as PEFT writes them.
// Methods that PEFT cannot express are written with peft_type SHARDORA, which PEFT refuses.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/formats/model_weights.h"
#include "runtime/formats/peft_config.h"

namespace shardora {

inline constexpr std::string_view kPeftPrefix = "base_model.model.";  // of every tensor's name in the file

struct PeftAdapter {
  PeftConfig config;
  // Logical tensors by "<module>.lora_A", "<module>.lora_B", "<module>.lora_magnitude_vector" with <module> as in
  // Hugging Face ("model.layers.0.self_attn.q_proj"), fp32 (other float types are converted on reading).
  TensorMap tensors;
  std::filesystem::path file;       // of the tensors
  std::vector<std::string> copies;  // names in it of what should be the base's own: embeddings, head, biases
};

// Throws Error(kBadInput) naming file and key: unknown keys with a value, unsupported features, missing m under
// use_dora, m without it, A without B, ranks that disagree. All spellings of m are read (lora_magnitude_vector with or
// without .weight or .default.weight, magnitude, dora_scale, weight_m_wdecomp.weight [out,1]).
PeftAdapter read_peft_adapter(const std::filesystem::path& folder);
// Makes the folder, in one that is there. Every key that PEFT knows is written. Same tensors give the same bytes.
void write_peft_adapter(const std::filesystem::path& folder, const PeftAdapter& adapter);

// Takes out of an adapter that was read what changes nothing on this model, so that it computes as in PEFT: names of
// modules and layers that the model lacks, keys of how training began, tensors and biases that equal the base's.
// Returns a line for the log of each. Throws Error(kBadInput) where a tensor differs from the base's in the `part`-th
// of `parts` stretches of its rows. Without `base` nothing is compared.
std::vector<std::string> settle_adapter(PeftAdapter& adapter, const ModelConfig& config, const ModelWeights* base,
                                        int part = 0, int parts = 1);

// Which of the model's linear modules an adapter targets, and with which rank and alpha; PEFT's rules. Throws
// Error(kUsage) where a target matches nothing, or names the output head.
struct TargetModule {
  std::string name;
  std::int64_t rank = 0;
  double alpha = 0;
};
std::vector<TargetModule> select_targets(const PeftConfig& config, const std::vector<std::string>& linear_modules);

// The layer that a module or one of its tensors is in, by its name; -1: none. As PEFT reads names: the first number
// between dots that has two names or more before it and one behind.
std::int64_t layer_of(const std::string& name);

}  // namespace shardora
