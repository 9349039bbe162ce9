// Every operation, to the backend that the buffers live on. A dry run does nothing. The one file that
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

template <class Op, class OnCpu>
void run(Backend& backend, const Op& op, OnCuda<Op> on_cuda, const OnCpu& on_cpu) {
  if (backend.kind() == BackendKind::kDryRun) return;
  backend.kind() == BackendKind::kCuda ? on_cuda(backend, op) : on_cpu();
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

#define SHARDORA_LOOP(name, Op)                                                \
  void name(Backend& backend, const Op& op) {                                  \
    run(backend, op, ON_CUDA(name), [&] { cpu::loops_of(backend).name(op); }); \
  }
#define SHARDORA_PLAIN(name, Op)                             \
  void name(Backend& backend, const Op& op) {                \
    run(backend, op, ON_CUDA(name), [&] { cpu::name(op); }); \
  }
#include "kernels/operations.def"

void matmul(Backend& backend, const MatMul& op) {
  run(backend, op, ON_CUDA(matmul), [&] { cpu::matmul(cpu::loops_of(backend), op); });
}

void prepare_attention(Backend& backend, const AttentionPlan& plan) {
  run(backend, plan, ON_CUDA(prepare_attention), [] {});
}

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
