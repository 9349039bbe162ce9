// The few loop shapes of the CPU kernels: over elements, over rows, over blocks of columns; and sums of a fixed order.
//
// Sums keep 16 fp32 lanes over at most 1024 terms and add those in float64: they vectorise, do not depend on the number
// of threads, and their error does not grow with the length. Sums over rows: sum_rows.
// Small work stays on one thread: waking others costs more, above all on a busy machine. It stays outside of OpenMP
// too: for `if (false)` libgomp would allocate a team of one, and then again one of all threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

#include "kernels/check.h"
#include "kernels/cpu/scratch.h"
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

// body(first, count) for blocks of at most kMaxColumns columns; `rows` is only an estimate of the work of a column.
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

// Sums over rows of `terms` terms each: body(row, sums) adds the row's terms to sums[0 .. terms), then finish(j, total)
// takes each total. Tiles of 64 rows are summed in fp32, their sums in float64 in the order of the rows: totals do not
// depend on the number of threads, and a tile is read as it lies in memory.
template <class Body, class Finish>
inline void sum_rows(std::int64_t rows, std::int64_t terms, Scratch& scratch, const Body& body, const Finish& finish) {
  constexpr std::int64_t kTileRows = 64;
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  float* const partials = scratch.floats(tiles * terms);
  for_each_row(tiles, std::min(rows, kTileRows) * terms, [=, &body](std::int64_t tile) {
    float* sums = partials + tile * terms;
    std::fill_n(sums, terms, 0.0F);
    const std::int64_t end = std::min(rows, (tile + 1) * kTileRows);
    for (std::int64_t row = tile * kTileRows; row < end; ++row) body(row, sums);
  });
  for_each_column_block(tiles, terms, [=, &finish](std::int64_t first, std::int64_t count) {
    double totals[kMaxColumns] = {};
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const float* sums = partials + tile * terms + first;
#pragma omp simd
      for (std::int64_t j = 0; j < count; ++j) totals[j] += static_cast<double>(sums[j]);
    }
    for (std::int64_t j = 0; j < count; ++j) finish(first + j, static_cast<float>(totals[j]));
  });
}

}  // namespace
}  // namespace shardora::cpu
