// The norm of W + s*B*A on the CPU: from its factors, and directly where that cancels. All sums in float64: this runs
// once an optimizer step, and the norm's error goes straight into the gain.
#include <cmath>
#include <vector>

#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

struct DirectSizes {
  std::int64_t rows, in, rank;
};

DirectSizes checked_sizes(const DirectNorm& op) {
  const DirectSizes sizes{op.w.size(0), op.w.size(1), op.a.size(0)};
  SHARDORA_CHECK(op.b.size(0) == sizes.rows && op.b.size(1) == sizes.rank && op.a.size(1) == sizes.in);
  return sizes;
}

}  // namespace

void LevelLoops::low_rank_norm(const LowRankNorm& op) {
  const std::int64_t rank = op.x.size(0);
  const std::int64_t width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.z.shape == op.x.shape && op.squared_weight.elements() == width);
  SHARDORA_CHECK(op.squared.elements() == width && op.reference.elements() == width);
  const auto* w = op.squared_weight.as<float>();
  const auto* x = op.x.as<float>();
  const auto* y = op.y.as<float>();
  const auto* z = op.z.as<float>();
  auto* squared = op.squared.as<float>();
  auto* reference = op.reference.as<float>();
  const double s = op.scale;
  for_each_column_block(rank, width, [=](std::int64_t first, std::int64_t count) {
    double cross[kMaxColumns] = {};
    double third[kMaxColumns] = {};
    for (std::int64_t k = 0; k < rank; ++k) {
      const std::int64_t row = k * width + first;
#pragma omp simd
      for (std::int64_t j = 0; j < count; ++j) {
        cross[j] += static_cast<double>(x[row + j]) * y[row + j];
        third[j] += static_cast<double>(x[row + j]) * z[row + j];
      }
    }
    for (std::int64_t j = 0; j < count; ++j) {
      const formulas::FactoredSquare norm = formulas::factored_square(w[first + j], s, cross[j], third[j]);
      reference[first + j] = static_cast<float>(norm.reference);
      squared[first + j] = static_cast<float>(norm.squared);
    }
  });
}

void LevelLoops::direct_row_norms(const DirectNorm& op) {
  const auto [rows, in, rank] = checked_sizes(op);
  SHARDORA_CHECK(op.out.elements() == rows);
  const auto* w = op.w.as<float>();
  const auto* b = op.b.as<float>();
  const auto* a = op.a.as<float>();
  auto* out = op.out.as<double>();
  const double s = op.scale;
  for_each_row(rows, in * (rank + 1), [=, in = in, rank = rank](std::int64_t i) {
    double total = 0;
    for (std::int64_t first = 0; first < in; first += kMaxColumns) {
      const std::int64_t count = std::min(kMaxColumns, in - first);
      double direction[kMaxColumns];
      for (std::int64_t j = 0; j < count; ++j) direction[j] = w[i * in + first + j];
      for (std::int64_t k = 0; k < rank; ++k) {
        const double factor = s * b[i * rank + k];
#pragma omp simd
        for (std::int64_t j = 0; j < count; ++j) direction[j] += factor * a[k * in + first + j];
      }
      for (std::int64_t j = 0; j < count; ++j) total += direction[j] * direction[j];
    }
    out[i] = total;
  });
}

void LevelLoops::direct_column_norms(const DirectNorm& op) {
  const auto [rows, in, rank] = checked_sizes(op);
  const std::int64_t count = op.columns.elements();
  SHARDORA_CHECK(op.out.elements() == count);
  const auto* w = op.w.as<float>();
  const auto* b = op.b.as<float>();
  const auto* a = op.a.as<float>();
  const auto* columns = op.columns.as<std::int32_t>();
  auto* out = op.out.as<double>();
  const double s = op.scale;
  for (std::int64_t c = 0; c < count; ++c) SHARDORA_CHECK(columns[c] >= 0 && columns[c] < in);
  for_each_row(count, rows * (rank + 1), [=, rows = rows, in = in, rank = rank](std::int64_t c) {
    const std::int64_t j = columns[c];
    double total = 0;
    for (std::int64_t i = 0; i < rows; ++i) {
      double direction = w[i * in + j];
      for (std::int64_t k = 0; k < rank; ++k) direction += s * b[i * rank + k] * a[k * in + j];
      total += direction * direction;
    }
    out[c] += total;
  });
}

void LevelLoops::norm_from_square(const NormFromSquare& op) {
  SHARDORA_CHECK(op.norm.elements() == op.squared.elements());
  const auto* squared = op.squared.as<float>();
  auto* norm = op.norm.as<float>();
  for_each_element(op.norm.elements(), [=](std::int64_t j) { norm[j] = formulas::norm_of_square(squared[j]); });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
