// The model as training sees it: a decoder-only transformer, this rank's shard of it. Const within a step; what a
// micro-batch needs in between is an explicit Activations object, so several may be in flight.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cross_entropy.h"
#include "runtime/data/batch.h"
#include "runtime/model/block.h"
#include "runtime/model/parameters.h"
#include "runtime/model/weight_source.h"

namespace shardora {

// Sizes that activations are made for.
struct ActivationPlan {
  BatchLimits limits;
  bool training = true;       // keep what every layer saves; else all layers use the same memory in turn
  bool row_scores = false;    // keep what gives each target's own loss
  DType dtype = DType::kF32;  // of activations and their gradients; logits and statistics are fp32
  Recompute recompute = Recompute::kNone;
  std::int64_t cache_rows = 0;  // tokens whose keys and values are kept: generation
};

struct Activations {
  DeviceBatch storage;                                // room for the largest micro-batch
  std::vector<BlockSaved> slots;                      // one a layer
  bool layers_share = false;                          // Recompute::kFull: all slots are the same memory, but for h
  TensorView h_last;                                  // [tokens, hidden]: the last block's output
  TensorView head_x, head_normed, head_rstd, d_head;  // rows that predict a target
  TensorView logits, dlogits, row_max, sums;          // one chunk of rows; dlogits in the type of the activations
  TensorView loss;                                    // float64 [2]: sum of losses, correct predictions
  TensorView row_scores;  // [3, tokens]: row_max and sums of all target rows; empty without ActivationPlan::row_scores
  KvCache cache;          // empty without ActivationPlan::cache_rows
};

// How a forward pass treats the loss.
struct LossPlan {
  float gradient_scale = 0;  // of each target's loss in the objective: 1 / targets of the optimizer step
  bool gradients = false;    // keep the gradient of the head's input for backward
};

class Decoder {
 public:
  // Structure only. `tensor_rank` is this rank's place in the tensor group.
  Decoder(Backend& backend, const ModelConfig& config, const PlacementRule& rule, const TensorParallel& parallel);

  // Frozen model: reads this rank's slices of every tensor, each once. `like`: how its matrices are kept.
  void load_frozen(WeightSource& source, std::int64_t positions, const FrozenMatrixPlan& like);
  // Every tensor trains (method full): declare, lay the set out, then load.
  void declare_parameters(ParameterSet& parameters);
  void load_trainable(WeightSource& source, std::int64_t positions, ParameterSet& parameters);

  std::vector<DoraLinear*> linears();         // in order of the layers
  std::int64_t lowest_trained_layer() const;  // how many layers there are, where none trains
  const ModelConfig& config() const { return config_; }
  const PlacementRule& rule() const { return rule_; }
  std::int64_t weight_bytes() const;  // device memory of frozen weights
  // That memory by name, as plain bytes: what must never change. Nothing where the base trains.
  struct FrozenBytes {
    std::string name;
    TensorView bytes;
  };
  std::vector<FrozenBytes> frozen_bytes();

  Activations take_activations(Arena& arena, const ActivationPlan& plan) const;
  // What the layers ask of attention, each kind once.
  std::vector<AttentionPlan> attention_plans(const ActivationPlan& plan, std::int64_t longest) const;
  // Copies a micro-batch to the device; the views are of its size.
  DeviceBatch upload(const Batch& batch, const Activations& activations) const;
  // The same for a batch that uses the activations' cache.
  DeviceBatch upload(const Batch& batch, const CachePlaces& places, const Activations& activations) const;

  // Adds the micro-batch's losses and correct predictions to activations.loss.
  void forward(const Pass& pass, const Activations& activations, const LossPlan& loss) const;
  // From the loss down to the lowest layer that trains. Parameter gradients accumulate.
  // `layer_done` is called when this rank's gradients of that layer, and of all above it, have been queued.
  using LayerDone = std::function<void(std::int64_t layer)>;
  void backward(const Pass& pass, const Activations& activations, const LayerDone& layer_done = {}) const;
  // Logits over this rank's columns of the vocabulary at the batch's target rows, into activations.logits, which holds
  // them only if there are at most chunk_rows().
  TensorView logits(const Pass& pass, const Activations& activations) const;
  // Of those logits, over the whole vocabulary: each row's largest, and its sum of exp(logit - largest).
  struct RowSums {
    TensorView largest, sums;  // [rows]
  };
  RowSums row_sums(const Pass& pass, const Activations& activations) const;
  std::int64_t chunk_rows() const;                  // rows of the head's input that are worked on at a time
  Range vocabulary() const { return vocabulary_; }  // this rank's columns

  // Every logical tensor of the base with its shape.
  const std::vector<NamedShape>& tensors() const { return tensors_; }

 private:
  KvCache take_cache(Arena& arena, const ActivationPlan& plan) const;
  std::vector<BlockSaved> take_slots(Arena& arena, const ActivationPlan& plan) const;
  void build_block(Block& block, std::int64_t layer);
  TensorView device_vector(WeightSource& source, const std::string& name, Range range);
  void load_tables(std::int64_t positions);
  const NamedShape& shape_of(const std::string& name) const;
  void run_blocks(const Pass& pass, const Activations& activations) const;
  void run_block(const Pass& pass, const Activations& activations, std::size_t layer) const;
  CrossEntropy cross_entropy_of(const DeviceBatch& batch, const Activations& activations, Range rows) const;
  void sum_rows(const Pass& pass, const CrossEntropy& op) const;
  void head_input(const Pass& pass, const Activations& activations) const;
  void head_chunk(const Pass& pass, const Activations& activations, const LossPlan& loss, Range rows) const;
  template <class Visit>
  void for_each_vector(const Visit& visit);

  Backend& backend_;
  ModelConfig config_;
  PlacementRule rule_;
  const TensorParallel& parallel_;
  std::vector<NamedShape> tensors_;
  std::vector<DeviceBuffer> buffers_;  // norms, biases, tables
  Range vocabulary_;
  std::unique_ptr<WeightMatrix> embedding_, head_;  // head_ empty where it is tied
  const TrainableMatrix *trainable_embedding_ = nullptr, *trainable_head_ = nullptr;
  std::vector<Block> blocks_;
  NormWeight final_norm_;
  TensorView cosines_, sines_;
};

}  // namespace shardora
