// Sums of squares in float64. Blocks and lanes are fixed, so no order of additions depends on chance.
#include "kernels/reduce.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/cpu.h"

namespace shardora::cpu {
namespace {

constexpr std::int64_t kLanes = 8;
constexpr std::int64_t kBlock = 1 << 14;  // elements summed by one thread before the sums join
constexpr std::int64_t kColumns = 64;     // columns summed by one thread
constexpr std::int64_t kWave = 1 << 8;    // blocks whose sums are held at a time

double squared_norm(const float* x, std::int64_t count) {
  std::array<double, kLanes> sums{};  // independent lanes: the compiler may use vectors without reordering anything
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double value = x[i + lane];
      sums[static_cast<std::size_t>(lane)] += value * value;
    }
  }
  for (; i < count; ++i) sums[0] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

void column_block(const float* x, std::int64_t rows, std::int64_t columns, std::int64_t first, float* out) {
  const std::int64_t count = std::min(kColumns, columns - first);
  std::array<double, kColumns> sums{};
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const row = x + i * columns + first;
    for (std::int64_t j = 0; j < count; ++j) sums[static_cast<std::size_t>(j)] += static_cast<double>(row[j]) * row[j];
  }
  for (std::int64_t j = 0; j < count; ++j) out[first + j] = static_cast<float>(sums[static_cast<std::size_t>(j)]);
}

}  // namespace

double sum_of_squares(TensorView x) {
  const float* const values = x.as<float>();
  const std::int64_t count = x.elements();
  const std::int64_t blocks = (count + kBlock - 1) / kBlock;
  std::array<double, kWave> parts{};
  double total = 0;
  for (std::int64_t wave = 0; wave < blocks; wave += kWave) {
    const std::int64_t held = std::min(kWave, blocks - wave);
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < held; ++i) {
      const std::int64_t first = (wave + i) * kBlock;
      parts[static_cast<std::size_t>(i)] = squared_norm(values + first, std::min(kBlock, count - first));
    }
    for (std::int64_t i = 0; i < held; ++i) total += parts[static_cast<std::size_t>(i)];  // in the order of the blocks
  }
  return total;
}

void row_squared_norms(const SquaredNorms& op) {
  const std::int64_t rows = op.x.size(0);
  const std::int64_t columns = op.x.size(1);
  SHARDORA_CHECK(op.out.shape == Shape{rows});
  const float* const x = op.x.as<float>();
  float* const out = op.out.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < rows; ++i) out[i] = static_cast<float>(squared_norm(x + i * columns, columns));
}

void column_squared_norms(const SquaredNorms& op) {
  const std::int64_t rows = op.x.size(0);
  const std::int64_t columns = op.x.size(1);
  SHARDORA_CHECK(op.out.shape == Shape{columns});
  const float* const x = op.x.as<float>();
  float* const out = op.out.as<float>();
  const std::int64_t blocks = (columns + kColumns - 1) / kColumns;
#pragma omp parallel for schedule(static)
  for (std::int64_t block = 0; block < blocks; ++block) column_block(x, rows, columns, block * kColumns, out);
}

}  // namespace shardora::cpu
