// This folder is compiled once for each level, with SHARDORA_LEVEL set to the level's own namespace. Two rules keep
// code of one level out of the others:
//
//   - All that is ours stands in that namespace or in an unnamed one.
//   - Functions that others share (templates of the standard library, members of TensorView) are inlined at every use:
//     a copy of its own in an object file would be weak, and the linker takes any one of the weak copies for the whole
//     program, so AVX-512 code could be called at the level x86-64. So the files here include and use little: no
//     containers, no strings, no exceptions. tests/kernels/level_symbols.py reads the object files and finds what slips
//     through.
#pragma once

#include "kernels/cpu/loops.h"

namespace shardora::cpu::SHARDORA_LEVEL {

class LevelLoops final : public Loops {
 public:
  void narrow_product(const MatMul& op) override;
  void bf16_product(const Bf16Product& op) override;
  void rms_norm_forward(const RmsNormForward& op) override;
  void rms_norm_backward(const RmsNormBackward& op) override;
  void rope_forward(const RopeForward& op) override;
  void rope_backward(const RopeBackward& op) override;
  void attention_forward(const AttentionForward& op) override;
  void attention_backward(const AttentionBackward& op) override;
  void swiglu_forward(const SwigluForward& op) override;
  void swiglu_backward(const SwigluBackward& op) override;
  void cross_entropy_max(const CrossEntropy& op) override;
  void cross_entropy_sum(const CrossEntropy& op) override;
  void cross_entropy_finish(const CrossEntropy& op) override;
  void dora_gain(const DoraGain& op) override;
  void scale_columns_forward(const ScaleColumnsForward& op) override;
  void scale_columns_backward(const ScaleColumnsBackward& op) override;
  void dropout_gain_forward(const DropoutGainForward& op) override;
  void gain_minus_one(const GainMinusOne& op) override;
  void low_rank_norm(const LowRankNorm& op) override;
  void direct_row_norms(const DirectNorm& op) override;
  void direct_column_norms(const DirectNorm& op) override;
  void norm_from_square(const NormFromSquare& op) override;
  void initial_magnitude(const InitialMagnitude& op) override;
  void norm_gradient_factor(const NormGradientFactor& op) override;
  void magnitude_gradient(const MagnitudeGradient& op) override;
  void add(const Add& op) override;
  void column_sum(const ColumnSum& op) override;
  void dropout(const Dropout& op) override;
  void adamw(const AdamW& op) override;
};

Loops* new_loops();  // the caller owns it: a smart pointer's members would be shared code

}  // namespace shardora::cpu::SHARDORA_LEVEL
