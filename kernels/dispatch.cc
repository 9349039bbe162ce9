// Every operation, one line each: to the backend that the buffers live on. A rehearsal does nothing.
#include "kernels/cpu/cpu.h"
#include "kernels/rehearsal.h"

namespace shardora {
namespace {

template <class Op>
void run(const Backend& backend, const Op& op, void (*on_cpu)(const Op&)) {
  if (backend.kind() == BackendKind::kRehearsal) return;
  SHARDORA_CHECK(backend.kind() == BackendKind::kCpu);
  on_cpu(op);
}

template <class Op>
void run(Backend& backend, const Op& op, void (cpu::Loops::*on_cpu)(const Op&)) {
  if (backend.kind() == BackendKind::kRehearsal) return;
  SHARDORA_CHECK(backend.kind() == BackendKind::kCpu);
  (cpu::loops_of(backend).*on_cpu)(op);
}

template <class Op>
void run(Backend& backend, const Op& op, void (*on_cpu)(cpu::Loops&, const Op&)) {
  if (backend.kind() == BackendKind::kRehearsal) return;
  SHARDORA_CHECK(backend.kind() == BackendKind::kCpu);
  on_cpu(cpu::loops_of(backend), op);
}

}  // namespace

// clang-format off
void adamw(Backend& backend, const AdamW& op) { run(backend, op, &cpu::Loops::adamw); }
void matmul(Backend& backend, const MatMul& op) { run(backend, op, cpu::matmul); }
void transpose(Backend& backend, const Transpose& op) { run(backend, op, cpu::transpose); }
void embedding_gather(Backend& backend, const EmbeddingGather& op) { run(backend, op, cpu::embedding_gather); }
void embedding_scatter(Backend& backend, const EmbeddingScatter& op) { run(backend, op, cpu::embedding_scatter); }
void rms_norm_forward(Backend& backend, const RmsNormForward& op) { run(backend, op, &cpu::Loops::rms_norm_forward); }
void rms_norm_backward(Backend& backend, const RmsNormBackward& op) { run(backend, op, &cpu::Loops::rms_norm_backward); }
void rope_forward(Backend& backend, const RopeForward& op) { run(backend, op, &cpu::Loops::rope_forward); }
void rope_backward(Backend& backend, const RopeBackward& op) { run(backend, op, &cpu::Loops::rope_backward); }
void attention_forward(Backend& backend, const AttentionForward& op) { run(backend, op, &cpu::Loops::attention_forward); }
void attention_backward(Backend& backend, const AttentionBackward& op) { run(backend, op, &cpu::Loops::attention_backward); }
void swiglu_forward(Backend& backend, const SwigluForward& op) { run(backend, op, &cpu::Loops::swiglu_forward); }
void swiglu_backward(Backend& backend, const SwigluBackward& op) { run(backend, op, &cpu::Loops::swiglu_backward); }
void cross_entropy_max(Backend& backend, const CrossEntropy& op) { run(backend, op, &cpu::Loops::cross_entropy_max); }
void cross_entropy_sum(Backend& backend, const CrossEntropy& op) { run(backend, op, &cpu::Loops::cross_entropy_sum); }
void cross_entropy_finish(Backend& backend, const CrossEntropy& op) { run(backend, op, &cpu::Loops::cross_entropy_finish); }
void dora_gain(Backend& backend, const DoraGain& op) { run(backend, op, &cpu::Loops::dora_gain); }
void scale_columns_forward(Backend& backend, const ScaleColumnsForward& op) { run(backend, op, &cpu::Loops::scale_columns_forward); }
void scale_columns_backward(Backend& backend, const ScaleColumnsBackward& op) { run(backend, op, &cpu::Loops::scale_columns_backward); }
void dropout_gain_forward(Backend& backend, const DropoutGainForward& op) { run(backend, op, &cpu::Loops::dropout_gain_forward); }
void gain_minus_one(Backend& backend, const GainMinusOne& op) { run(backend, op, &cpu::Loops::gain_minus_one); }
void low_rank_norm(Backend& backend, const LowRankNorm& op) { run(backend, op, &cpu::Loops::low_rank_norm); }
void direct_row_norms(Backend& backend, const DirectNorm& op) { run(backend, op, &cpu::Loops::direct_row_norms); }
void direct_column_norms(Backend& backend, const DirectNorm& op) { run(backend, op, &cpu::Loops::direct_column_norms); }
void norm_from_square(Backend& backend, const NormFromSquare& op) { run(backend, op, &cpu::Loops::norm_from_square); }
void initial_magnitude(Backend& backend, const InitialMagnitude& op) { run(backend, op, &cpu::Loops::initial_magnitude); }
void norm_gradient_factor(Backend& backend, const NormGradientFactor& op) { run(backend, op, &cpu::Loops::norm_gradient_factor); }
void magnitude_gradient(Backend& backend, const MagnitudeGradient& op) { run(backend, op, &cpu::Loops::magnitude_gradient); }
void add(Backend& backend, const Add& op) { run(backend, op, &cpu::Loops::add); }
void column_sum(Backend& backend, const ColumnSum& op) { run(backend, op, &cpu::Loops::column_sum); }
void gather_rows(Backend& backend, const MoveRows& op) { run(backend, op, cpu::gather_rows); }
void scatter_rows(Backend& backend, const MoveRows& op) { run(backend, op, cpu::scatter_rows); }
void fill_uniform(Backend& backend, const RandomFill& op) { run(backend, op, cpu::fill_uniform); }
void fill_normal(Backend& backend, const RandomFill& op) { run(backend, op, cpu::fill_normal); }
void dropout(Backend& backend, const Dropout& op) { run(backend, op, &cpu::Loops::dropout); }
void row_squared_norms(Backend& backend, const SquaredNorms& op) { run(backend, op, cpu::row_squared_norms); }
void column_squared_norms(Backend& backend, const SquaredNorms& op) { run(backend, op, cpu::column_squared_norms); }
// clang-format on

double sum_of_squares(Backend& backend, TensorView x) {
  if (backend.kind() == BackendKind::kRehearsal) return 0;
  SHARDORA_CHECK(backend.kind() == BackendKind::kCpu);
  return cpu::sum_of_squares(x);
}

std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight) {
  if (backend.kind() == BackendKind::kRehearsal) return make_rehearsal_matrix(plan);
  SHARDORA_CHECK(backend.kind() == BackendKind::kCpu);
  return cpu::make_frozen_matrix(backend, plan, weight);
}

std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan) { return cpu::frozen_matrix_bytes(plan); }

}  // namespace shardora
