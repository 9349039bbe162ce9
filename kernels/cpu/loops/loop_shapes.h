// The few loop shapes of the CPU kernels: over elements, over rows, over blocks of columns; and sums of a fixed order.
//
// Sums keep 16 fp32 lanes over at most 1024 terms and add those in float64: they vectorise, do not depend on the number
// of threads, and their error does not grow with the length. Sums over tokens belong to one thread a column.
// Small work stays on one thread: waking others costs more, above all on a busy machine. It stays outside of OpenMP
// too: for `if (false)` libgomp would allocate a team of one, and then again one of all threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "kernels/check.h"
#include "kernels/tensor.h"

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kWorthThreads = 1 << 14;  // elements

// body(i) for i in [0, n); bodies touch element i only, so in-place use is fine.
template <class Body>
inline void for_each_element(std::int64_t n, Body body) {
  if (n < kWorthThreads) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
#pragma omp parallel for simd schedule(static) firstprivate(body)
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

// body(row) for rows of `width` elements each.
template <class Body>
inline void for_each_row(std::int64_t rows, std::int64_t width, const Body& body) {
  if (rows <= 1 || rows * width < kWorthThreads) {
    for (std::int64_t row = 0; row < rows; ++row) body(row);
    return;
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) body(row);
}

// body(first, count) for blocks of at most kMaxColumns columns; `rows` only tells how much work a column is.
constexpr std::int64_t kMaxColumns = 128;
template <class Body>
inline void for_each_column_block(std::int64_t rows, std::int64_t width, const Body& body) {
  const std::int64_t per_thread = (width + omp_get_max_threads() - 1) / omp_get_max_threads();
  const std::int64_t block =
      std::min(kMaxColumns, std::max<std::int64_t>(1, (per_thread + kLanes - 1) / kLanes) * kLanes);
  const std::int64_t blocks = (width + block - 1) / block;
  if (blocks <= 1 || rows * width < kWorthThreads) {
    for (std::int64_t b = 0; b < blocks; ++b) body(b * block, std::min(block, width - b * block));
    return;
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t b = 0; b < blocks; ++b) body(b * block, std::min(block, width - b * block));
}

// sum of term(i) for i in [0, n).
template <class Term>
inline double sum_of(std::int64_t n, const Term& term) {
  constexpr std::int64_t kBlock = 1024;
  double total = 0;
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t last = std::min(n, first + kBlock);
    float lanes[kLanes] = {};
    std::int64_t i = first;
    for (; i + kLanes <= last; i += kLanes) {
#pragma omp simd
      for (std::int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += term(i + lane);
    }
    for (std::int64_t lane = 0; i + lane < last; ++lane) lanes[lane] += term(i + lane);
    double block_total = 0;
    for (const float lane : lanes) block_total += lane;
    total += block_total;
  }
  return total;
}

// Sums over many rows for one block of columns: 64 rows in fp32, then float64.
class ColumnTotals {
 public:
  explicit ColumnTotals(std::int64_t count) : count_(count) { SHARDORA_CHECK(count <= kMaxColumns); }
  // term(j) for each column j of the block, once a row.
  template <class Term>
  void add_row(const Term& term) {
#pragma omp simd
    for (std::int64_t j = 0; j < count_; ++j) partial_[j] += term(j);
    if (++pending_ == kRows) fold();
  }
  void add_to(float* out) {
    fold();
    for (std::int64_t j = 0; j < count_; ++j) out[j] += static_cast<float>(total_[j]);
  }

 private:
  static constexpr int kRows = 64;
  void fold() {
    for (std::int64_t j = 0; j < count_; ++j) total_[j] += static_cast<double>(partial_[j]);
    std::fill_n(partial_, count_, 0.0F);
    pending_ = 0;
  }
  std::int64_t count_;
  int pending_ = 0;
  float partial_[kMaxColumns] = {};
  double total_[kMaxColumns] = {};
};

}  // namespace
}  // namespace shardora::cpu
