// The CPU's half of every contract in kernels/*.h: the same names without the backend. Work is done when they return.
#pragma once

#include <memory>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/backend.h"
#include "kernels/cross_entropy.h"
#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/weight_matrix.h"

namespace shardora::cpu {

class ProductCache;

std::unique_ptr<Backend> make_backend(const BackendOptions& options);
ProductCache& products_of(Backend& backend);  // a backend of make_backend() above
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight);
std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan);

void matmul(const MatMul& op);
void transpose(const Transpose& op);

void embedding_gather(const EmbeddingGather& op);
void embedding_scatter(const EmbeddingScatter& op);

void rms_norm_forward(const RmsNormForward& op);
void rms_norm_backward(const RmsNormBackward& op);
void rope_forward(const Rope& op);
void rope_backward(const Rope& op);
void attention_forward(const AttentionForward& op);
void attention_backward(const AttentionBackward& op);
void swiglu_forward(const SwigluForward& op);
void swiglu_backward(const SwigluBackward& op);

void cross_entropy_max(const CrossEntropy& op);
void cross_entropy_sum(const CrossEntropy& op);
void cross_entropy_finish(const CrossEntropy& op);

void dora_gain(const DoraGain& op);
void scale_columns_forward(const ScaleColumnsForward& op);
void scale_columns_backward(const ScaleColumnsBackward& op);
void dropout_gain_forward(const DropoutGainForward& op);
void gain_minus_one(const GainMinusOne& op);
void low_rank_norm(const LowRankNorm& op);
void direct_row_norms(const DirectNorm& op);
void direct_column_norms(const DirectNorm& op);
void norm_from_square(const NormFromSquare& op);
void initial_magnitude(const InitialMagnitude& op);
void norm_gradient_factor(const NormGradientFactor& op);
void magnitude_gradient(const MagnitudeGradient& op);

void add(const Add& op);
void column_sum(const ColumnSum& op);
void gather_rows(const MoveRows& op);
void scatter_rows(const MoveRows& op);

void fill_uniform(const RandomFill& op);
void fill_normal(const RandomFill& op);
void dropout(const Dropout& op);

double sum_of_squares(TensorView x);
void row_squared_norms(const SquaredNorms& op);
void column_squared_norms(const SquaredNorms& op);

void adamw(const AdamW& op);

}  // namespace shardora::cpu
