// Floating-point operations that a model's training step cannot do without.
//
//   a token      4 |W| of each frozen matrix (2 forward, 2 input gradient), 6 |W| of one that trains,
//                6 (|A| + |B|) of the adapters; |.| counts elements. The head counts for tokens that predict a target.
//   a sequence   14 P heads head_dim for each layer's attention: 2 products forward and 5 backward, which makes the
//                scores again, of 2 operations; P, the pairs of a query and a key that it sees, is taken as length^2 /
//                2, or as window (length - window / 2) where a sliding window is shorter. Without one that is, a
//                token, 3.5 (2 layers length heads head_dim)
//
// Layers below the lowest that trains have no backward pass: 2 |W| and 2 products. What is made again (recompute),
// norms and other elementwise work count nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/formats/model_folder.h"

namespace shardora {

class ModelFlops {
 public:
  struct Training {
    std::int64_t adapter_elements = 0;  // of all A and B
    std::int64_t lowest_layer = 0;      // that trains
    bool full = false;                  // every matrix trains
  };
  ModelFlops(const ModelConfig& config, const Training& training);
  // Forward and backward, over all ranks that share the model.
  double of_sequence(std::int64_t tokens) const;  // all layers
  double of_targets(std::int64_t targets) const;  // the head

 private:
  double per_token_ = 0, per_target_ = 0;
  double attention_width_ = 0;
  std::vector<std::int64_t> windows_;  // one a layer; 0: none
  std::int64_t lowest_layer_;
};

}  // namespace shardora
