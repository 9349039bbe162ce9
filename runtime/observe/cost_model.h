// What a training step computes, in FLOPs and bytes by kind of operation, from the sizes of a model or of a tensor
// rank's part of it. |W| counts elements.
//
//   linear layer   a token: forward 2 |W|, input gradient 2 |W|, weight gradient 2 |W| where W trains
//   head           the same for each token that predicts a target
//   adapter        a token: 6 r (in + out)
//   attention      a sequence: 2 products forward and 5 backward, which makes the scores again, each of
//                  2 P heads head_dim. P, the pairs of a query and a key that it sees, is taken as length^2 / 2, or as
//                  window (length - window / 2) where a sliding window is shorter
//
// Layers below the lowest that trains have no backward pass.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/formats/model_config.h"
#include "runtime/options.h"

namespace shardora {

struct LinearSizes {
  std::int64_t layer = 0, out_features = 0, in_features = 0;
  std::int64_t adapter_rank = 0;  // 0: not adapted
};
struct ModelSizes {
  std::int64_t hidden = 0, intermediate = 0, heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0;
  std::vector<LinearSizes> linears;   // in order of the layers
  std::vector<std::int64_t> windows;  // of each layer's attention; 0: none
  std::int64_t lowest_trained_layer = 0;
  bool full = false;  // all weights train
};
ModelSizes sizes_of(const ModelConfig& config);  // the whole model, without adapters

// FLOPs that no implementation can do without, over all ranks that share the model: what is made again (recompute),
// norms and other elementwise work count nothing.
class ModelFlops {
 public:
  explicit ModelFlops(ModelSizes sizes);
  double of_sequence(std::int64_t tokens) const;                                                        // all layers
  double of_targets(std::int64_t targets) const { return per_target_ * static_cast<double>(targets); }  // the head

 private:
  ModelSizes sizes_;
  double per_token_ = 0, per_target_ = 0;
};

// What a rank has to work on in an optimizer step; means over `steps` of them.
struct StepLoad {
  double micro_batches = 0, tokens = 0, targets = 0;
  std::vector<std::int64_t> lengths;  // of the sequences in all `steps`
  double steps = 1;
};

struct StepSettings {
  Recompute recompute = Recompute::kNone;
  bool magnitudes = false;            // of DoRA
  std::int64_t element_bytes = 4;     // of an activation
  std::int64_t head_rows = 1;         // most rows of the head that are worked on at a time
  std::int64_t trained_elements = 0;  // of this rank
};

// A product of x [rows,in] with a weight [out,in]: forward with W^T, input gradient with W.
struct GemmShape {
  std::int64_t rows = 0, out = 0, in = 0;
};
struct LinearCost {
  GemmShape shape;  // of a typical micro-batch
  double forward_flops = 0, backward_flops = 0;
  std::int64_t adapter_rank = 0;
  double adapter_flops = 0, norm_flops = 0;  // DoRA's norms, once a step
};
struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0, length = 0, sequences = 1;
};

// Of one step, recomputation included.
struct StepCost {
  std::vector<LinearCost> linears;
  LinearCost head;           // its shape: a chunk of rows
  AttentionShape attention;  // of a typical micro-batch
  double attention_forward_flops = 0, attention_backward_flops = 0;
  double elementwise_bytes = 0;                         // that norms, rotations, gains, SwiGLU and sums read and write
  std::int64_t rows = 0, hidden = 0, intermediate = 0;  // what those work on
  double loss_bytes = 0, optimizer_bytes = 0;
};
StepCost step_cost(const ModelSizes& sizes, const StepSettings& settings, const StepLoad& load);

}  // namespace shardora
