// Plain matrix products: narrow ones by loops of our own, the others through oneDNN's sgemm (row-major, in 2.x and 3.x
// alike); and the transpose.
#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/cpu/cpu.h"

namespace shardora::cpu {
namespace {

constexpr std::int64_t kTile = 32;  // 32 x 32 floats of both sides stay in the first-level cache

void transpose_tile(const float* from, float* to, std::int64_t m, std::int64_t n, std::int64_t i0, std::int64_t j0) {
  const std::int64_t i1 = std::min(m, i0 + kTile);
  const std::int64_t j1 = std::min(n, j0 + kTile);
  for (std::int64_t j = j0; j < j1; ++j) {
    for (std::int64_t i = i0; i < i1; ++i) to[j * m + i] = from[i * n + j];
  }
}

bool is_narrow(const MatMul& op) {
  const std::int64_t m = op.c.size(0), n = op.c.size(1), k = op.a.size(op.transpose_a ? 0 : 1);
  if (op.transpose_a) return !op.transpose_b && std::min(m, n) <= kNarrow;
  return std::min(n, k) <= kNarrow;
}

}  // namespace

void matmul(Loops& loops, const MatMul& op) {
  const std::int64_t m = op.c.size(0);
  const std::int64_t n = op.c.size(1);
  const std::int64_t k = op.a.size(op.transpose_a ? 0 : 1);
  SHARDORA_CHECK(op.a.shape == (op.transpose_a ? Shape{k, m} : Shape{m, k}));
  SHARDORA_CHECK(op.b.shape == (op.transpose_b ? Shape{n, k} : Shape{k, n}));
  float* const c = op.c.as<float>();
  if (m == 0 || n == 0) return;
  if (k == 0) {  // an empty sum; oneDNN would leave c as it was
    if (!op.accumulate) std::fill_n(c, m * n, 0.0F);
    return;
  }
  if (is_narrow(op)) return loops.narrow_gemm(op);
  const char transpose_a = op.transpose_a ? 'T' : 'N';
  const char transpose_b = op.transpose_b ? 'T' : 'N';
  const dnnl::status status = dnnl::sgemm(transpose_a, transpose_b, m, n, k, op.scale, op.a.as<float>(), op.a.size(1),
                                          op.b.as<float>(), op.b.size(1), op.accumulate ? 1.0F : 0.0F, c, n);
  SHARDORA_CHECK(status == dnnl::status::success);
}

void transpose(const Transpose& op) {
  const std::int64_t m = op.from.size(0);
  const std::int64_t n = op.from.size(1);
  SHARDORA_CHECK(op.to.shape == (Shape{n, m}));
  const float* const from = op.from.as<float>();
  float* const to = op.to.as<float>();
  const std::int64_t row_tiles = (m + kTile - 1) / kTile;
  const std::int64_t column_tiles = (n + kTile - 1) / kTile;
#pragma omp parallel for schedule(static)
  for (std::int64_t tile = 0; tile < row_tiles * column_tiles; ++tile) {
    transpose_tile(from, to, m, n, tile % row_tiles * kTile, tile / row_tiles * kTile);
  }
}

}  // namespace shardora::cpu
