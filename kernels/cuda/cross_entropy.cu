// A block a row; its threads stride through the columns, four at a time where every row is aligned to that. The logits
// are read three times and their gradient is written once: the time is that of the memory.
#include <cmath>

#include "kernels/cross_entropy.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/elements.h"
#include "kernels/formulas.h"

namespace shardora::cuda {
namespace {

constexpr int kMostThreads = 512;  // of a row
constexpr int kLossThreads = 1024;

// N columns that are read or written at once.
template <class T, int N>
struct alignas(N * sizeof(T)) Columns {
  T values[static_cast<std::size_t>(N)];
};

template <int N, class T>
__device__ auto* columns_of_row(T* rows, std::int64_t columns) {
  using Const = std::conditional_t<std::is_const_v<T>, const Columns<std::remove_const_t<T>, N>, Columns<T, N>>;
  return reinterpret_cast<Const*>(rows + std::int64_t{blockIdx.x} * columns);
}

template <int N>
__global__ void __launch_bounds__(kMostThreads) max_kernel(const float* logits, std::int64_t columns, float* row_max) {
  const auto* const row = columns_of_row<N>(logits, columns);
  float max = MaxOf::neutral<float>();
#pragma unroll 2
  for (std::int64_t i = threadIdx.x; i < columns / N; i += blockDim.x) {
    const auto some = row[i];
#pragma unroll
    for (const float logit : some.values) max = MaxOf::join(logit, max);
  }
  max = block_reduce<MaxOf>(max);
  if (threadIdx.x == 0) row_max[blockIdx.x] = max;
}

// Sums of at most columns / (threads * N) terms in fp32, joined in float64.
template <int N>
__global__ void __launch_bounds__(kMostThreads)
    sum_kernel(const float* logits, std::int64_t columns, const std::int32_t* targets, std::int64_t first_column,
               const float* row_max, float* sums, float* target_logits) {
  const auto* const row = columns_of_row<N>(logits, columns);
  const float max = row_max[blockIdx.x];
  float lanes[static_cast<std::size_t>(N)] = {};
#pragma unroll 2
  for (std::int64_t i = threadIdx.x; i < columns / N; i += blockDim.x) {
    const auto some = row[i];
#pragma unroll
    for (int k = 0; k < N; ++k) lanes[k] += std::exp(some.values[k] - max);
  }
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x != 0) return;
  const std::int64_t target = targets[blockIdx.x] - first_column;
  sums[blockIdx.x] = static_cast<float>(sum);
  target_logits[blockIdx.x] =
      target >= 0 && target < columns ? logits[std::int64_t{blockIdx.x} * columns + target] : 0.0F;
}

// dlogits may be the logits: each thread reads a place before it writes it.
template <class T, int N>
__global__ void __launch_bounds__(kMostThreads)
    gradient_kernel(const float* logits, T* dlogits, std::int64_t columns, const std::int32_t* targets,
                    std::int64_t first_column, const float* row_max, const float* sums, float scale) {
  const auto* const row = columns_of_row<N>(logits, columns);
  auto* const gradient = columns_of_row<N>(dlogits, columns);
  const float max = row_max[blockIdx.x], factor = scale / sums[blockIdx.x];
  const std::int64_t target = targets[blockIdx.x] - first_column;
  for (std::int64_t i = threadIdx.x; i < columns / N; i += blockDim.x) {
    const auto some = row[i];
    Columns<T, N> written;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float share = factor * std::exp(some.values[k] - max);
      written.values[k] = from_float<T>(i * N + k == target ? share - scale : share);
    }
    gradient[i] = written;
  }
}

// One block: rows are few, and their sum has one order.
__global__ void __launch_bounds__(kLossThreads)
    loss_kernel(std::int64_t rows, const float* row_max, const float* sums, const float* target_logits, double* loss) {
  double total = 0, correct = 0;
  for (std::int64_t t = threadIdx.x; t < rows; t += blockDim.x) {
    total += formulas::cross_entropy_loss(sums[t], row_max[t], target_logits[t]);
    correct += target_logits[t] == row_max[t] ? 1.0 : 0.0;
  }
  total = block_reduce<SumOf>(total);
  correct = block_reduce<SumOf>(correct);
  if (threadIdx.x != 0) return;
  loss[0] += total;
  loss[1] += correct;
}

// function(N) as a constant: 4 where every row of these begins at a multiple of that, else 1.
template <class Function>
void with_columns_at_once(std::int64_t columns, const void* logits, const void* dlogits, const Function& function) {
  if (is_vector_aligned<float>(columns, {logits, dlogits})) return function(std::integral_constant<int, 4>{});
  function(std::integral_constant<int, 1>{});
}

template <class T>
void write_gradient(Backend& backend, const CrossEntropy& op, T* dlogits) {
  const auto [rows, columns] = checked_sizes(op);
  const auto* const logits = op.logits.as<float>();
  with_columns_at_once(columns, logits, dlogits, [&, rows = rows, columns = columns](auto at_once) {
    constexpr int kAtOnce = decltype(at_once)::value;
    launch(gradient_kernel<T, kAtOnce>, static_cast<unsigned>(rows), block_threads(columns / kAtOnce, kMostThreads), 0,
           stream_of(backend), logits, dlogits, columns, op.targets.as<std::int32_t>(), op.first_column,
           op.row_max.as<float>(), op.sums.as<float>(), op.gradient_scale);
  });
}

}  // namespace

void cross_entropy_max(Backend& backend, const CrossEntropy& op) {
  const auto [rows, columns] = checked_sizes(op);
  const auto* const logits = op.logits.as<float>();
  with_columns_at_once(columns, logits, nullptr, [&, rows = rows, columns = columns](auto at_once) {
    constexpr int kAtOnce = decltype(at_once)::value;
    launch(max_kernel<kAtOnce>, static_cast<unsigned>(rows), block_threads(columns / kAtOnce, kMostThreads), 0,
           stream_of(backend), logits, columns, op.row_max.as<float>());
  });
}

void cross_entropy_sum(Backend& backend, const CrossEntropy& op) {
  const auto [rows, columns] = checked_sizes(op);
  const auto* const logits = op.logits.as<float>();
  auto* const sums = op.sums.as<float>();
  with_columns_at_once(columns, logits, nullptr, [&, rows = rows, columns = columns](auto at_once) {
    constexpr int kAtOnce = decltype(at_once)::value;
    launch(sum_kernel<kAtOnce>, static_cast<unsigned>(rows), block_threads(columns / kAtOnce, kMostThreads), 0,
           stream_of(backend), logits, columns, op.targets.as<std::int32_t>(), op.first_column, op.row_max.as<float>(),
           sums, sums + rows);
  });
}

void cross_entropy_finish(Backend& backend, const CrossEntropy& op) {
  const std::int64_t rows = checked_sizes(op).rows;
  SHARDORA_CHECK(op.loss.elements() == 2);
  if (rows == 0) return;
  const auto* const sums = op.sums.as<float>();
  launch(loss_kernel, 1, block_threads(rows, kLossThreads), 0, stream_of(backend), rows, op.row_max.as<float>(), sums,
         sums + rows, op.loss.as<double>());
  if (!op.write_gradient) return;
  if (!op.dlogits) return write_gradient(backend, op, op.logits.as<float>());
  SHARDORA_CHECK(op.dlogits.shape == op.logits.shape);
  SHARDORA_CHECK(op.dlogits.dtype == DType::kF32 || op.dlogits.data != op.logits.data);
  with_element_type(op.dlogits.dtype,
                    [&](auto type) { write_gradient(backend, op, elements_of<decltype(type)>(op.dlogits)); });
}

}  // namespace shardora::cuda
