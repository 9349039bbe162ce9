// The norm of W + s*B*A computed directly, where its factors cancel. It runs seldom, on a tile of W at a time: a block
// a row or column, its result copied to the host at once.
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;

struct Tile {
  const float *w, *b, *a;  // [rows, in], [rows, rank], [rank, in]
  std::int64_t rows, in, rank;
  double s;

  __device__ double square(std::int64_t i, std::int64_t j) const {
    double direction = w[i * in + j];
    for (std::int64_t k = 0; k < rank; ++k) direction += s * b[i * rank + k] * a[k * in + j];
    return direction * direction;
  }
};

Tile checked_tile(const DirectNorm& op) {
  const Tile tile{.w = op.w.as<float>(),
                  .b = op.b.as<float>(),
                  .a = op.a.as<float>(),
                  .rows = op.w.size(0),
                  .in = op.w.size(1),
                  .rank = op.a.size(0),
                  .s = op.scale};
  SHARDORA_CHECK(op.b.size(0) == tile.rows && op.b.size(1) == tile.rank && op.a.size(1) == tile.in);
  return tile;
}

__global__ void direct_rows_kernel(Tile tile, double* out) {
  double sum = 0;
  for (std::int64_t j = threadIdx.x; j < tile.in; j += blockDim.x) sum += tile.square(blockIdx.x, j);
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

__global__ void direct_columns_kernel(Tile tile, const std::int32_t* columns, double* out) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < tile.rows; i += blockDim.x) sum += tile.square(i, columns[blockIdx.x]);
  sum = block_reduce<SumOf>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

}  // namespace

void direct_row_norms(Backend& backend, const DirectNorm& op) {
  const Tile tile = checked_tile(op);
  SHARDORA_CHECK(op.out.elements() == tile.rows);
  auto* const sums = cuda_backend(backend).workspace<double>(tile.rows);
  launch(direct_rows_kernel, static_cast<unsigned>(tile.rows), block_threads(tile.in, kThreads), 0, stream_of(backend),
         tile, sums);
  backend.copy_to_host(op.out, {sums, DType::kF64, op.out.shape});
  backend.synchronize();  // the contract
}

void direct_column_norms(Backend& backend, const DirectNorm& op) {
  const Tile tile = checked_tile(op);
  const std::int64_t count = op.columns.elements();
  SHARDORA_CHECK(op.out.elements() == count);
  for (const std::int32_t column : op.columns.span<std::int32_t>()) SHARDORA_CHECK(column >= 0 && column < tile.in);
  auto* const sums = cuda_backend(backend).workspace<double>(2 * count);  // and the columns behind them
  const TensorView columns{sums + count, DType::kI32, op.columns.shape};
  backend.copy_from_host(columns, op.columns);
  launch(direct_columns_kernel, static_cast<unsigned>(count), block_threads(tile.rows, kThreads), 0, stream_of(backend),
         tile, columns.as<std::int32_t>(), sums);
  std::vector<double> parts(static_cast<std::size_t>(count));
  backend.copy_to_host(view_of(std::span(parts), {count}), {sums, DType::kF64, {count}});
  backend.synchronize();  // the contract
  auto* const out = op.out.as<double>();
  for (std::size_t c = 0; c < parts.size(); ++c) out[c] += parts[c];
}

}  // namespace shardora::cuda
