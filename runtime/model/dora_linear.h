// A linear layer of the model on this tensor rank: frozen weight and bias, and what a method lends it to train.
// Sources of the formulas: arXiv 2402.09353 and its gradients with the norm held constant; the exact norm gradient is
// added once per optimizer step (adapter/exact_gradient).
//
//   magnitude on the output axis   u = x W^T + s (x A^T) B^T,   y = g.u + b
//   magnitude on the input axis    x~ = g.x,   y = x~ W^T + s (x~ A^T) B^T + b
//   row-parallel layers sum u (or y) over the tensor group before anything that is not linear; the bias is added once
//
// Dropout (mask D) in scope `adapter` touches the adapter's input only; in scope `input`, as PEFT has it, it touches
// all that the adapter changes:  output axis  y = x W^T + (g - 1).(x' W^T) + g.s (x' A^T) B^T + b,  x' = D.x
//                            input axis   y = (x + (g - 1).x') W^T + s ((g.x') A^T) B^T + b
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/gain.h"
#include "kernels/random.h"
#include "kernels/weight_matrix.h"
#include "runtime/memory/arena.h"
#include "runtime/model/pass.h"
#include "runtime/model/placement.h"
#include "runtime/options.h"

namespace shardora {

// Norms carry the version of the A and B that they were made from; a forward pass checks it.
struct AdapterVersion {
  std::uint64_t parameters = 0, norms = 0;
};

// Views into a method's parameters and gradients, for this rank's shard. Gradients accumulate (+=). A and B are in the
// type of the activations; everything else is fp32.
struct LinearAdapter {
  TensorView a, da;    // [r, in]
  TensorView b, db;    // [out, r]
  TensorView gain, h;  // [out] or [in], by the axis; empty: no magnitude (LoRA). dm = h / n
  float scale = 0;     // s
  MagnitudeAxis axis = MagnitudeAxis::kOutput;
  float dropout = 0;
  DropoutScope dropout_scope = DropoutScope::kInput;
  RandomKey dropout_key;                    // of (seed, module)
  std::int64_t first_feature = 0;           // of this shard's input, in the logical layer
  const AdapterVersion* version = nullptr;  // not owned
};

// What a layer keeps from forward for backward, besides its input x, which the block keeps.
struct LinearSaved {
  TensorView u;  // [tokens, out]: the product before the gain, where the gain's gradient needs it; else empty
  TensorView z;  // [tokens, r]
};

class DoraLinear {
 public:
  std::string name;  // as in Hugging Face, without ".weight"
  LinearKind kind = LinearKind::kColumn;
  std::int64_t in_features = 0, out_features = 0;  // of this shard
  Range in_range, out_range;                       // of the logical layer
  std::unique_ptr<WeightMatrix> weight;
  TensorView bias, dbias;                      // [out] or empty; dbias where it trains
  const LinearAdapter* adapter = nullptr;      // not owned; null: nothing to adapt here
  const TrainableMatrix* trainable = nullptr;  // the weight itself, where it trains

  // Whether forward writes to y at all. Not on the output axis (but for dropout in scope `input`): there saved.u is
  // all.
  bool needs_output() const;
  LinearSaved take_saved(Arena& arena, std::string_view segment, DType dtype, std::int64_t tokens) const;

  // This layer of x [tokens, in], but for what output() leaves to the pass that reads it. y [tokens, out]; empty where
  // it is not needed.
  void forward(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView y) const;
  // What forward has written (saved.u or y), with the gain and the bias that are still to be applied.
  LinearProduct output(const Pass& pass, const LinearSaved& saved, TensorView y) const;
  // Where the pass that applies output()'s gain sums h; empty without a gain.
  TensorView output_h(const Pass& pass) const;
  // du [tokens, out]: the gradient of output().u. dx (=|+=) this layer's input gradient (partial over the tensor group
  // for column-parallel layers, see TensorParallel); empty dx: not needed. Parameter gradients accumulate.
  void backward(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView du, TensorView dx,
                bool accumulate) const;

 private:
  bool drops(const Pass& pass) const { return adapter && adapter->dropout > 0 && pass.training; }
  bool drops_all(const Pass& pass) const {
    return drops(pass) && adapter->gain && adapter->dropout_scope == DropoutScope::kInput;
  }
  bool leaves_gain(const Pass& pass) const { return output_axis() && !drops_all(pass); }
  bool output_axis() const { return adapter && adapter->gain && adapter->axis == MagnitudeAxis::kOutput; }
  bool input_axis() const { return adapter && adapter->gain && adapter->axis == MagnitudeAxis::kInput; }
  // x~ = g.x on the input axis, else x.
  TensorView scaled_input(const Pass& pass, TensorView x) const;
  // D.x where the adapter's branch drops, else x.
  TensorView adapter_input(const Pass& pass, TensorView x) const;
  void dropout_into(const Pass& pass, TensorView x, TensorView y, bool accumulate) const;
  void forward_dropping_all(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView y) const;
  void factor_gradients(const Pass& pass, TensorView du, TensorView adapter_x, TensorView z, TensorView dz) const;
  void backward_output(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView du, TensorView dx,
                       bool accumulate) const;
  void backward_input(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView dy, TensorView dx,
                      bool accumulate) const;
  void backward_output_dropping_all(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView dy,
                                    TensorView dx, bool accumulate) const;
  void backward_input_dropping_all(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView dy,
                                   TensorView dx, bool accumulate) const;
  void backward_plain(const Pass& pass, TensorView x, TensorView dy, TensorView dx, bool accumulate) const;
};

}  // namespace shardora
