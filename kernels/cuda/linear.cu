#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"

namespace shardora::cuda {
namespace {

constexpr int kTile = 32;     // elements of a tile's side, and threads of a row of the block
constexpr int kTileRows = 8;  // rows of a tile that the block moves at a time

// A tile through shared memory, so that both sides are read and written along their rows. The padding lets the threads
// of a warp read a column from as many banks.
__global__ void transpose_kernel(const float* from, float* to, std::int64_t m, std::int64_t n,
                                 std::int64_t column_tiles) {
  SHARDORA_SHARED(float, tile, kTile*(kTile + 1));
  const std::int64_t i0 = std::int64_t{blockIdx.x} / column_tiles * kTile;
  const std::int64_t j0 = std::int64_t{blockIdx.x} % column_tiles * kTile;
  const int x = static_cast<int>(threadIdx.x);
  for (int y = static_cast<int>(threadIdx.y); y < kTile; y += kTileRows) {
    if (i0 + y < m && j0 + x < n) tile[y * (kTile + 1) + x] = from[(i0 + y) * n + j0 + x];
  }
  __syncthreads();
  for (int y = static_cast<int>(threadIdx.y); y < kTile; y += kTileRows) {
    if (j0 + y < n && i0 + x < m) to[(j0 + y) * m + i0 + x] = tile[x * (kTile + 1) + y];
  }
}

std::int64_t tiles(std::int64_t size) { return (size + kTile - 1) / kTile; }

}  // namespace

void matmul(Backend& backend, const MatMul& op) {
  const std::int64_t m = op.c.size(0), n = op.c.size(1), k = op.a.size(op.transpose_a ? 0 : 1);
  SHARDORA_CHECK(op.a.shape == (op.transpose_a ? Shape{k, m} : Shape{m, k}));
  SHARDORA_CHECK(op.b.shape == (op.transpose_b ? Shape{n, k} : Shape{k, n}));
  SHARDORA_CHECK(op.a.dtype == op.b.dtype && (op.c.dtype == op.a.dtype || op.c.dtype == DType::kF32));
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!op.accumulate) backend.zero(op.c);
    return;
  }
  cuda_backend(backend).gemm().run({.a = op.a.data,
                                    .b = op.b.data,
                                    .c = op.c.data,
                                    .m = m,
                                    .n = n,
                                    .k = k,
                                    .operands = op.a.dtype,
                                    .result = op.c.dtype,
                                    .transpose_a = op.transpose_a,
                                    .transpose_b = op.transpose_b,
                                    .scale = op.scale,
                                    .accumulate = op.accumulate});
}

void transpose(Backend& backend, const Transpose& op) {
  const std::int64_t m = op.from.size(0), n = op.from.size(1);
  SHARDORA_CHECK(op.to.shape == (Shape{n, m}));
  launch(transpose_kernel, static_cast<unsigned>(tiles(m) * tiles(n)), dim3(kTile, kTileRows), 0, stream_of(backend),
         op.from.as<float>(), op.to.as<float>(), m, n, tiles(n));
}

}  // namespace shardora::cuda
