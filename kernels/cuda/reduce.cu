#include <array>

#include "kernels/cuda/block.h"
#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"
#include "kernels/reduce.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostParts = 1024, kLeastElements = 4096;  // of sum_of_squares, and elements of a part

template <class T>
__device__ double square(T x) {
  const double value = to_float(x);
  return value * value;
}

// Threads stride through their part vector by vector; what no whole vector holds (all of x where it is not aligned) one
// by one.
__global__ void __launch_bounds__(kThreads)
    sum_of_squares_kernel(const float* x, std::int64_t vectors, std::int64_t count, double* parts) {
  const std::int64_t first = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
  double sum = 0;
  for (std::int64_t i = first; i < vectors; i += stride) {
    const AlignedVector<float> vector = load_vector(x + i * AlignedVector<float>::kCount);
#pragma unroll
    for (const float value : vector.values) sum += square(value);
  }
  for (std::int64_t i = vectors * AlignedVector<float>::kCount + first; i < count; i += stride) sum += square(x[i]);
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(kThreads) row_squared_norms_kernel(const T* x, std::int64_t columns, float* out) {
  const T* const row = x + std::int64_t{blockIdx.x} * columns;
  double sum = 0;
  for (std::int64_t j = threadIdx.x; j < columns; j += blockDim.x) sum += square(row[j]);
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = static_cast<float>(sum);
}

// One column a thread, the rows of one part in turn.
template <class T>
__global__ void column_squared_parts_kernel(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t rows_each,
                                            double* parts) {
  const std::int64_t j = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j >= columns) return;
  const std::int64_t first = std::int64_t{blockIdx.y} * rows_each;
  const std::int64_t last = first + rows_each < rows ? first + rows_each : rows;
  double sum = 0;
  for (std::int64_t i = first; i < last; ++i) sum += square(x[i * columns + j]);
  parts[std::int64_t{blockIdx.y} * columns + j] = sum;
}

__global__ void join_column_parts_kernel(const double* parts, std::int64_t count, std::int64_t columns, float* out) {
  const std::int64_t j = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j >= columns) return;
  double sum = 0;
  for (std::int64_t p = 0; p < count; ++p) sum += parts[p * columns + j];
  out[j] = static_cast<float>(sum);
}

}  // namespace

double sum_of_squares(Backend& backend, TensorView x) {
  const std::int64_t count = x.elements();
  const std::int64_t parts = std::min(kMostParts, (count + kLeastElements - 1) / kLeastElements);
  const float* const values = x.as<float>();
  auto* const part_sums = cuda_backend(backend).workspace<double>(parts);
  launch(sum_of_squares_kernel, static_cast<unsigned>(parts), kThreads, 0, stream_of(backend), values,
         whole_vectors<float>(count, {values}), count, part_sums);
  std::array<double, kMostParts> sums;
  backend.copy_to_host({sums.data(), DType::kF64, {parts}}, {part_sums, DType::kF64, {parts}});
  backend.synchronize();  // the caller decides with the sum what to do next
  double total = 0;
  for (std::int64_t p = 0; p < parts; ++p) total += sums[static_cast<std::size_t>(p)];
  return total;
}

void row_squared_norms(Backend& backend, const SquaredNorms& op) {
  const std::int64_t rows = op.x.size(0), columns = op.x.size(1);
  SHARDORA_CHECK(op.out.shape == Shape{rows});
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    launch(row_squared_norms_kernel<T>, static_cast<unsigned>(rows), block_threads(columns, kThreads), 0,
           stream_of(backend), elements_of<T>(op.x), columns, op.out.as<float>());
  });
}

void column_squared_norms(Backend& backend, const SquaredNorms& op) {
  const std::int64_t rows = op.x.size(0), columns = op.x.size(1);
  SHARDORA_CHECK(op.out.shape == Shape{columns});
  const RowParts cut = row_parts(rows, 2 * columns);  // a float64 takes the place of two floats
  auto* const parts = cuda_backend(backend).workspace<double>(cut.parts * columns);
  const auto blocks = static_cast<unsigned>((columns + kThreads - 1) / kThreads);
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    launch(column_squared_parts_kernel<T>, dim3(blocks, static_cast<unsigned>(cut.parts)), kThreads, 0,
           stream_of(backend), elements_of<T>(op.x), rows, columns, cut.rows_each, parts);
  });
  launch(join_column_parts_kernel, blocks, kThreads, 0, stream_of(backend), parts, cut.parts, columns,
         op.out.as<float>());
}

}  // namespace shardora::cuda
