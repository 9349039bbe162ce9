// The GPU's half of the contracts in kernels/*.h: the same operations, queued on the backend's stream. Activations may
// be fp32 or bfloat16, all of one call alike; everything else is fp32 as the contracts say. Arithmetic is fp32 always.
#pragma once

#include <memory>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/backend.h"
#include "kernels/cross_entropy.h"
#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gain.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/weight_matrix.h"

namespace shardora::cuda {

std::vector<CudaDevice> devices();
CudaVersions versions();
std::unique_ptr<Backend> make_backend(const BackendOptions& options);
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan,
                                                 const MatrixRows& rows);

void adamw(Backend& backend, const AdamW& op);
void matmul(Backend& backend, const MatMul& op);
void transpose(Backend& backend, const Transpose& op);
void embedding_gather(Backend& backend, const EmbeddingGather& op);
void embedding_scatter(Backend& backend, const EmbeddingScatter& op);
void rms_norm_forward(Backend& backend, const RmsNormForward& op);
void rms_norm_backward(Backend& backend, const RmsNormBackward& op);
void rope_forward(Backend& backend, const RopeForward& op);
void rope_backward(Backend& backend, const RopeBackward& op);
void prepare_attention(Backend& backend, const AttentionPlan& plan);
std::int64_t attention_bytes(Backend& backend, const AttentionPlan& plan);
void attention_forward(Backend& backend, const AttentionForward& op);
void attention_backward(Backend& backend, const AttentionBackward& op);
void swiglu_forward(Backend& backend, const SwigluForward& op);
void swiglu_backward(Backend& backend, const SwigluBackward& op);
void cross_entropy_max(Backend& backend, const CrossEntropy& op);
void cross_entropy_sum(Backend& backend, const CrossEntropy& op);
void cross_entropy_finish(Backend& backend, const CrossEntropy& op);
void dora_gain(Backend& backend, const DoraGain& op);
void scale_columns_forward(Backend& backend, const ScaleColumnsForward& op);
void scale_columns_backward(Backend& backend, const ScaleColumnsBackward& op);
void dropout_gain_forward(Backend& backend, const DropoutGainForward& op);
void gain_minus_one(Backend& backend, const GainMinusOne& op);
void low_rank_norm(Backend& backend, const LowRankNorm& op);
void direct_row_norms(Backend& backend, const DirectNorm& op);
void direct_column_norms(Backend& backend, const DirectNorm& op);
void norm_from_square(Backend& backend, const NormFromSquare& op);
void initial_magnitude(Backend& backend, const InitialMagnitude& op);
void norm_gradient_factor(Backend& backend, const NormGradientFactor& op);
void magnitude_gradient(Backend& backend, const MagnitudeGradient& op);
void add(Backend& backend, const Add& op);
void convert(Backend& backend, const Convert& op);
void column_sum(Backend& backend, const ColumnSum& op);
void gather_rows(Backend& backend, const MoveRows& op);
void scatter_rows(Backend& backend, const MoveRows& op);
void write_rows(Backend& backend, const MoveRows& op);
void fill_uniform(Backend& backend, const RandomFill& op);
void fill_normal(Backend& backend, const RandomFill& op);
void dropout(Backend& backend, const Dropout& op);
double sum_of_squares(Backend& backend, TensorView x);
std::uint64_t checksum_words(Backend& backend, TensorView view);
void row_squared_norms(Backend& backend, const SquaredNorms& op);
void column_squared_norms(Backend& backend, const SquaredNorms& op);

}  // namespace shardora::cuda
