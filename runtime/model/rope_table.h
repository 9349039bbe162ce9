// Cosines and sines of the rotary embedding, computed in fp32 in the order that transformers computes them, so that
// long positions round alike. Scaling: none, linear (frequencies / factor), llama3 (low frequencies / factor, a smooth
// ramp between; Llama 3.1's rule).
#pragma once

#include <vector>

#include "runtime/formats/model_config.h"

namespace shardora {

std::vector<float> rope_inverse_frequencies(const ModelConfig& config);  // [head_dim / 2]

struct RopeTable {
  std::vector<float> cosines, sines;  // [positions, head_dim / 2]
};
RopeTable make_rope_table(const ModelConfig& config, std::int64_t positions);

}  // namespace shardora
