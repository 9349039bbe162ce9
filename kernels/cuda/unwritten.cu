// Operations that are still to be written.
#include "kernels/cuda/cuda.h"

namespace shardora::cuda {

__attribute__((weak)) std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend&, const FrozenMatrixPlan&,
                                                                       const MatrixRows&) {
  refuse(ExitStatus::kInternal, "unwritten: make_frozen_matrix");
}
__attribute__((weak)) void adamw(Backend&, const AdamW&) { refuse(ExitStatus::kInternal, "unwritten: adamw"); }
__attribute__((weak)) void matmul(Backend&, const MatMul&) { refuse(ExitStatus::kInternal, "unwritten: matmul"); }
__attribute__((weak)) void transpose(Backend&, const Transpose&) {
  refuse(ExitStatus::kInternal, "unwritten: transpose");
}
__attribute__((weak)) void embedding_gather(Backend&, const EmbeddingGather&) {
  refuse(ExitStatus::kInternal, "unwritten: embedding_gather");
}
__attribute__((weak)) void embedding_scatter(Backend&, const EmbeddingScatter&) {
  refuse(ExitStatus::kInternal, "unwritten: embedding_scatter");
}
__attribute__((weak)) void rms_norm_forward(Backend&, const RmsNormForward&) {
  refuse(ExitStatus::kInternal, "unwritten: rms_norm_forward");
}
__attribute__((weak)) void rms_norm_backward(Backend&, const RmsNormBackward&) {
  refuse(ExitStatus::kInternal, "unwritten: rms_norm_backward");
}
__attribute__((weak)) void rope_forward(Backend&, const RopeForward&) {
  refuse(ExitStatus::kInternal, "unwritten: rope_forward");
}
__attribute__((weak)) void rope_backward(Backend&, const RopeBackward&) {
  refuse(ExitStatus::kInternal, "unwritten: rope_backward");
}
__attribute__((weak)) void attention_forward(Backend&, const AttentionForward&) {
  refuse(ExitStatus::kInternal, "unwritten: attention_forward");
}
__attribute__((weak)) void attention_backward(Backend&, const AttentionBackward&) {
  refuse(ExitStatus::kInternal, "unwritten: attention_backward");
}
__attribute__((weak)) void swiglu_forward(Backend&, const SwigluForward&) {
  refuse(ExitStatus::kInternal, "unwritten: swiglu_forward");
}
__attribute__((weak)) void swiglu_backward(Backend&, const SwigluBackward&) {
  refuse(ExitStatus::kInternal, "unwritten: swiglu_backward");
}
__attribute__((weak)) void cross_entropy_max(Backend&, const CrossEntropy&) {
  refuse(ExitStatus::kInternal, "unwritten: cross_entropy_max");
}
__attribute__((weak)) void cross_entropy_sum(Backend&, const CrossEntropy&) {
  refuse(ExitStatus::kInternal, "unwritten: cross_entropy_sum");
}
__attribute__((weak)) void cross_entropy_finish(Backend&, const CrossEntropy&) {
  refuse(ExitStatus::kInternal, "unwritten: cross_entropy_finish");
}
__attribute__((weak)) void dora_gain(Backend&, const DoraGain&) {
  refuse(ExitStatus::kInternal, "unwritten: dora_gain");
}
__attribute__((weak)) void scale_columns_forward(Backend&, const ScaleColumnsForward&) {
  refuse(ExitStatus::kInternal, "unwritten: scale_columns_forward");
}
__attribute__((weak)) void scale_columns_backward(Backend&, const ScaleColumnsBackward&) {
  refuse(ExitStatus::kInternal, "unwritten: scale_columns_backward");
}
__attribute__((weak)) void dropout_gain_forward(Backend&, const DropoutGainForward&) {
  refuse(ExitStatus::kInternal, "unwritten: dropout_gain_forward");
}
__attribute__((weak)) void gain_minus_one(Backend&, const GainMinusOne&) {
  refuse(ExitStatus::kInternal, "unwritten: gain_minus_one");
}
__attribute__((weak)) void low_rank_norm(Backend&, const LowRankNorm&) {
  refuse(ExitStatus::kInternal, "unwritten: low_rank_norm");
}
__attribute__((weak)) void direct_row_norms(Backend&, const DirectNorm&) {
  refuse(ExitStatus::kInternal, "unwritten: direct_row_norms");
}
__attribute__((weak)) void direct_column_norms(Backend&, const DirectNorm&) {
  refuse(ExitStatus::kInternal, "unwritten: direct_column_norms");
}
__attribute__((weak)) void norm_from_square(Backend&, const NormFromSquare&) {
  refuse(ExitStatus::kInternal, "unwritten: norm_from_square");
}
__attribute__((weak)) void initial_magnitude(Backend&, const InitialMagnitude&) {
  refuse(ExitStatus::kInternal, "unwritten: initial_magnitude");
}
__attribute__((weak)) void norm_gradient_factor(Backend&, const NormGradientFactor&) {
  refuse(ExitStatus::kInternal, "unwritten: norm_gradient_factor");
}
__attribute__((weak)) void magnitude_gradient(Backend&, const MagnitudeGradient&) {
  refuse(ExitStatus::kInternal, "unwritten: magnitude_gradient");
}
__attribute__((weak)) void gather_rows(Backend&, const MoveRows&) {
  refuse(ExitStatus::kInternal, "unwritten: gather_rows");
}
__attribute__((weak)) void scatter_rows(Backend&, const MoveRows&) {
  refuse(ExitStatus::kInternal, "unwritten: scatter_rows");
}
__attribute__((weak)) void fill_uniform(Backend&, const RandomFill&) {
  refuse(ExitStatus::kInternal, "unwritten: fill_uniform");
}
__attribute__((weak)) void fill_normal(Backend&, const RandomFill&) {
  refuse(ExitStatus::kInternal, "unwritten: fill_normal");
}
__attribute__((weak)) void dropout(Backend&, const Dropout&) { refuse(ExitStatus::kInternal, "unwritten: dropout"); }
__attribute__((weak)) double sum_of_squares(Backend&, TensorView) {
  refuse(ExitStatus::kInternal, "unwritten: sum_of_squares");
}
__attribute__((weak)) void row_squared_norms(Backend&, const SquaredNorms&) {
  refuse(ExitStatus::kInternal, "unwritten: row_squared_norms");
}
__attribute__((weak)) void column_squared_norms(Backend&, const SquaredNorms&) {
  refuse(ExitStatus::kInternal, "unwritten: column_squared_norms");
}

}  // namespace shardora::cuda
