// Every operation, one line each: to the backend that the buffers live on. A dry run does nothing. The one file that
// differs between a program with CUDA and one without.
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu.h"
#include "kernels/dry_run.h"

#ifdef SHARDORA_CUDA
#include "kernels/cuda/cuda.h"
#define ON_CUDA(operation) cuda::operation
#else
#define ON_CUDA(operation) nullptr
#endif

namespace shardora {
namespace {

// Not deduced from: it may be nullptr.
template <class Op>
using OnCuda = std::type_identity_t<void (*)(Backend&, const Op&)>;

template <class Op>
void run(Backend& backend, const Op& op, void (*on_cpu)(const Op&), OnCuda<Op> on_cuda) {
  if (backend.kind() == BackendKind::kDryRun) return;
  backend.kind() == BackendKind::kCuda ? on_cuda(backend, op) : on_cpu(op);
}

template <class Op>
void run(Backend& backend, const Op& op, void (cpu::Loops::*on_cpu)(const Op&), OnCuda<Op> on_cuda) {
  if (backend.kind() == BackendKind::kDryRun) return;
  backend.kind() == BackendKind::kCuda ? on_cuda(backend, op) : (cpu::loops_of(backend).*on_cpu)(op);
}

template <class Op>
void run(Backend& backend, const Op& op, void (*on_cpu)(cpu::Loops&, const Op&), OnCuda<Op> on_cuda) {
  if (backend.kind() == BackendKind::kDryRun) return;
  backend.kind() == BackendKind::kCuda ? on_cuda(backend, op) : on_cpu(cpu::loops_of(backend), op);
}

#ifndef SHARDORA_CUDA
[[noreturn]] void refuse_cuda() {
  refuse(ExitStatus::kUnavailable,
         "parallel.backend = cuda: this program was built without CUDA; build it with cmake --preset cuda, or set "
         "parallel.backend = cpu");
}
#endif

}  // namespace

#ifdef SHARDORA_CUDA
std::vector<CudaDevice> cuda_devices() { return cuda::devices(); }
CudaVersions cuda_versions() { return cuda::versions(); }
#else
CudaVersions cuda_versions() { return {}; }
std::vector<CudaDevice> cuda_devices() { refuse_cuda(); }
#endif

std::unique_ptr<Backend> make_backend(BackendKind kind, const BackendOptions& options) {
  switch (kind) {
    case BackendKind::kCpu:
      return cpu::make_backend(options);
    case BackendKind::kCuda:
#ifdef SHARDORA_CUDA
      return cuda::make_backend(options);
#else
      refuse_cuda();
#endif
    case BackendKind::kDryRun:
      return make_dry_run_backend();
  }
  contract_broken("known BackendKind", std::source_location::current());
}

// clang-format off
void adamw(Backend& backend, const AdamW& op) { run(backend, op, &cpu::Loops::adamw, ON_CUDA(adamw)); }
void matmul(Backend& backend, const MatMul& op) { run(backend, op, cpu::matmul, ON_CUDA(matmul)); }
void transpose(Backend& backend, const Transpose& op) { run(backend, op, cpu::transpose, ON_CUDA(transpose)); }
void embedding_gather(Backend& backend, const EmbeddingGather& op) { run(backend, op, cpu::embedding_gather, ON_CUDA(embedding_gather)); }
void embedding_scatter(Backend& backend, const EmbeddingScatter& op) { run(backend, op, cpu::embedding_scatter, ON_CUDA(embedding_scatter)); }
void rms_norm_forward(Backend& backend, const RmsNormForward& op) { run(backend, op, &cpu::Loops::rms_norm_forward, ON_CUDA(rms_norm_forward)); }
void rms_norm_backward(Backend& backend, const RmsNormBackward& op) { run(backend, op, &cpu::Loops::rms_norm_backward, ON_CUDA(rms_norm_backward)); }
void rope_forward(Backend& backend, const RopeForward& op) { run(backend, op, &cpu::Loops::rope_forward, ON_CUDA(rope_forward)); }
void rope_backward(Backend& backend, const RopeBackward& op) { run(backend, op, &cpu::Loops::rope_backward, ON_CUDA(rope_backward)); }
void attention_forward(Backend& backend, const AttentionForward& op) { run(backend, op, &cpu::Loops::attention_forward, ON_CUDA(attention_forward)); }
void attention_backward(Backend& backend, const AttentionBackward& op) { run(backend, op, &cpu::Loops::attention_backward, ON_CUDA(attention_backward)); }
void prepare_attention(Backend& backend, const AttentionPlan& plan) { run(backend, plan, +[](const AttentionPlan&) {}, ON_CUDA(prepare_attention)); }
void swiglu_forward(Backend& backend, const SwigluForward& op) { run(backend, op, &cpu::Loops::swiglu_forward, ON_CUDA(swiglu_forward)); }
void swiglu_backward(Backend& backend, const SwigluBackward& op) { run(backend, op, &cpu::Loops::swiglu_backward, ON_CUDA(swiglu_backward)); }
void cross_entropy_max(Backend& backend, const CrossEntropy& op) { run(backend, op, &cpu::Loops::cross_entropy_max, ON_CUDA(cross_entropy_max)); }
void cross_entropy_sum(Backend& backend, const CrossEntropy& op) { run(backend, op, &cpu::Loops::cross_entropy_sum, ON_CUDA(cross_entropy_sum)); }
void cross_entropy_finish(Backend& backend, const CrossEntropy& op) { run(backend, op, &cpu::Loops::cross_entropy_finish, ON_CUDA(cross_entropy_finish)); }
void dora_gain(Backend& backend, const DoraGain& op) { run(backend, op, &cpu::Loops::dora_gain, ON_CUDA(dora_gain)); }
void scale_columns_forward(Backend& backend, const ScaleColumnsForward& op) { run(backend, op, &cpu::Loops::scale_columns_forward, ON_CUDA(scale_columns_forward)); }
void scale_columns_backward(Backend& backend, const ScaleColumnsBackward& op) { run(backend, op, &cpu::Loops::scale_columns_backward, ON_CUDA(scale_columns_backward)); }
void dropout_gain_forward(Backend& backend, const DropoutGainForward& op) { run(backend, op, &cpu::Loops::dropout_gain_forward, ON_CUDA(dropout_gain_forward)); }
void gain_minus_one(Backend& backend, const GainMinusOne& op) { run(backend, op, &cpu::Loops::gain_minus_one, ON_CUDA(gain_minus_one)); }
void low_rank_norm(Backend& backend, const LowRankNorm& op) { run(backend, op, &cpu::Loops::low_rank_norm, ON_CUDA(low_rank_norm)); }
void direct_row_norms(Backend& backend, const DirectNorm& op) { run(backend, op, &cpu::Loops::direct_row_norms, ON_CUDA(direct_row_norms)); }
void direct_column_norms(Backend& backend, const DirectNorm& op) { run(backend, op, &cpu::Loops::direct_column_norms, ON_CUDA(direct_column_norms)); }
void norm_from_square(Backend& backend, const NormFromSquare& op) { run(backend, op, &cpu::Loops::norm_from_square, ON_CUDA(norm_from_square)); }
void initial_magnitude(Backend& backend, const InitialMagnitude& op) { run(backend, op, &cpu::Loops::initial_magnitude, ON_CUDA(initial_magnitude)); }
void norm_gradient_factor(Backend& backend, const NormGradientFactor& op) { run(backend, op, &cpu::Loops::norm_gradient_factor, ON_CUDA(norm_gradient_factor)); }
void magnitude_gradient(Backend& backend, const MagnitudeGradient& op) { run(backend, op, &cpu::Loops::magnitude_gradient, ON_CUDA(magnitude_gradient)); }
void add(Backend& backend, const Add& op) { run(backend, op, &cpu::Loops::add, ON_CUDA(add)); }
void convert(Backend& backend, const Convert& op) { run(backend, op, cpu::convert, ON_CUDA(convert)); }
void column_sum(Backend& backend, const ColumnSum& op) { run(backend, op, &cpu::Loops::column_sum, ON_CUDA(column_sum)); }
void gather_rows(Backend& backend, const MoveRows& op) { run(backend, op, cpu::gather_rows, ON_CUDA(gather_rows)); }
void scatter_rows(Backend& backend, const MoveRows& op) { run(backend, op, cpu::scatter_rows, ON_CUDA(scatter_rows)); }
void write_rows(Backend& backend, const MoveRows& op) { run(backend, op, cpu::write_rows, ON_CUDA(write_rows)); }
void fill_uniform(Backend& backend, const RandomFill& op) { run(backend, op, cpu::fill_uniform, ON_CUDA(fill_uniform)); }
void fill_normal(Backend& backend, const RandomFill& op) { run(backend, op, cpu::fill_normal, ON_CUDA(fill_normal)); }
void dropout(Backend& backend, const Dropout& op) { run(backend, op, &cpu::Loops::dropout, ON_CUDA(dropout)); }
void row_squared_norms(Backend& backend, const SquaredNorms& op) { run(backend, op, cpu::row_squared_norms, ON_CUDA(row_squared_norms)); }
void column_squared_norms(Backend& backend, const SquaredNorms& op) { run(backend, op, cpu::column_squared_norms, ON_CUDA(column_squared_norms)); }
// clang-format on

std::int64_t attention_bytes([[maybe_unused]] Backend& backend, [[maybe_unused]] const AttentionPlan& plan) {
#ifdef SHARDORA_CUDA
  if (backend.kind() == BackendKind::kCuda) return cuda::attention_bytes(backend, plan);
#endif
  return 0;
}

std::uint64_t checksum_words(Backend& backend, TensorView view) {
  if (backend.kind() == BackendKind::kDryRun) return 0;
#ifdef SHARDORA_CUDA
  if (backend.kind() == BackendKind::kCuda) return cuda::checksum_words(backend, view);
#endif
  return cpu::checksum_words(view);
}

double sum_of_squares(Backend& backend, TensorView x) {
  if (backend.kind() == BackendKind::kDryRun) return 0;
#ifdef SHARDORA_CUDA
  if (backend.kind() == BackendKind::kCuda) return cuda::sum_of_squares(backend, x);
#endif
  return cpu::sum_of_squares(x);
}

std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan,
                                                 const MatrixRows& rows) {
  if (backend.kind() == BackendKind::kDryRun) return make_dry_run_matrix(plan);
#ifdef SHARDORA_CUDA
  if (backend.kind() == BackendKind::kCuda) return cuda::make_frozen_matrix(backend, plan, rows);
#endif
  const std::int64_t elements = plan.out_features * plan.in_features;
  std::vector<std::byte> whole(static_cast<std::size_t>(elements * size_bytes(rows.dtype)));
  const TensorView weight{whole.data(), rows.dtype, {plan.out_features, plan.in_features}};
  rows.read(0, weight);
  return cpu::make_frozen_matrix(backend, plan, weight);
}

std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight) {
  if (backend.kind() == BackendKind::kDryRun) return make_dry_run_matrix(plan);
  if (backend.kind() == BackendKind::kCpu) return cpu::make_frozen_matrix(backend, plan, weight);
  SHARDORA_CHECK(weight.shape == (Shape{plan.out_features, plan.in_features}));
  const auto read = [&](std::int64_t first, TensorView rows) {
    std::memcpy(rows.data, weight.rows(first, rows.size(0)).data, static_cast<std::size_t>(rows.bytes()));
  };
  return make_frozen_matrix(backend, plan, MatrixRows{.dtype = weight.dtype, .read = read});
}

std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan) {
  if (plan.backend == BackendKind::kCuda) return plan.out_features * plan.in_features * size_bytes(plan.storage);
  return cpu::frozen_matrix_bytes(plan);
}

}  // namespace shardora
