// The operations that are loops of our own: one implementation for each instruction-set level, made from the same
// sources in loops/. What gains nothing from wider vectors (copies, products by oneDNN), or must be the same bits at
// every level (random fills, norms of gradients), stands in cpu.h.
#pragma once

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cpu/packed_product.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cross_entropy.h"
#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/gain.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace shardora::cpu {

class Loops {
 public:
  virtual ~Loops();
  Loops(const Loops&) = delete;
  Loops& operator=(const Loops&) = delete;

  // The contract of matmul; m, n, k >= 1; min(n, k) <= kNarrow, or for a transposed `a` min(m, n), and no transposed
  // `b`.
  virtual void narrow_product(const MatMul& op) = 0;
  virtual void bf16_product(const Bf16Product& op) = 0;

  virtual void rms_norm_forward(const RmsNormForward& op) = 0;
  virtual void rms_norm_backward(const RmsNormBackward& op) = 0;
  virtual void rope_forward(const RopeForward& op) = 0;
  virtual void rope_backward(const RopeBackward& op) = 0;
  virtual void attention_forward(const AttentionForward& op) = 0;
  virtual void attention_backward(const AttentionBackward& op) = 0;
  virtual void swiglu_forward(const SwigluForward& op) = 0;
  virtual void swiglu_backward(const SwigluBackward& op) = 0;

  virtual void cross_entropy_max(const CrossEntropy& op) = 0;
  virtual void cross_entropy_sum(const CrossEntropy& op) = 0;
  virtual void cross_entropy_finish(const CrossEntropy& op) = 0;

  virtual void dora_gain(const DoraGain& op) = 0;
  virtual void scale_columns_forward(const ScaleColumnsForward& op) = 0;
  virtual void scale_columns_backward(const ScaleColumnsBackward& op) = 0;
  virtual void dropout_gain_forward(const DropoutGainForward& op) = 0;
  virtual void gain_minus_one(const GainMinusOne& op) = 0;
  virtual void low_rank_norm(const LowRankNorm& op) = 0;
  virtual void direct_row_norms(const DirectNorm& op) = 0;
  virtual void direct_column_norms(const DirectNorm& op) = 0;
  virtual void norm_from_square(const NormFromSquare& op) = 0;
  virtual void initial_magnitude(const InitialMagnitude& op) = 0;
  virtual void norm_gradient_factor(const NormGradientFactor& op) = 0;
  virtual void magnitude_gradient(const MagnitudeGradient& op) = 0;

  virtual void add(const Add& op) = 0;
  virtual void column_sum(const ColumnSum& op) = 0;
  virtual void dropout(const Dropout& op) = 0;
  virtual void adamw(const AdamW& op) = 0;

 protected:
  Loops();
  Scratch scratch_;
  Scratch neutral_;  // rows of ones and zeros (loops/columns.h)
};

}  // namespace shardora::cpu
