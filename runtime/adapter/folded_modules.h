// An adapter over a model's stored weights, on the host in fp32: which linear layers it changes, and with what. merge
// writes what these make of the base, analyze measures it.
#pragma once

#include <map>
#include <span>
#include <string>

#include "kernels/backend.h"
#include "runtime/formats/model_config.h"
#include "runtime/formats/peft_adapter.h"

namespace shardora {

// One adapted linear layer. Nothing is owned.
struct FoldedModule {
  std::int64_t out = 0, in = 0, rank = 0;
  std::span<const float> a;          // [rank, in]
  std::span<const float> b;          // [out, rank]
  std::span<const float> magnitude;  // [out] or [in]; empty for LoRA
  float scale = 0;                   // s
  bool output_axis = true;           // of the magnitude
};

// By the name of the layer ("model.layers.0.self_attn.q_proj"). `adapter` must outlive the result. Throws
// Error(kBadInput) where its tensors are not those that its configuration needs on this model.
std::map<std::string, FoldedModule> folded_modules(const ModelConfig& config, const PeftAdapter& adapter);

// rows [count, in] of W, from row `first`, become those of V = W + s B A.
void add_low_rank(Backend& backend, const FoldedModule& module, std::int64_t first, TensorView rows);

}  // namespace shardora
