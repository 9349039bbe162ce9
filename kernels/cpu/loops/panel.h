// Matrix products of tiles that live in the caches, 16 columns at a time, accumulators in registers:
//
//   c[r, 0:width] (=|+=) sum_k a[r, k] * b[k, 0:width],   width <= 16
//
// Called within one thread, from loops that are parallel outside.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

constexpr std::int64_t kPanel = 16;  // columns of a panel, whatever the instruction set

struct alignas(64) PanelRow {
  float x[kPanel];
};

// The widest vector of the instruction set that this file is compiled for, and the rows whose accumulators fit.
#if defined(__AVX512F__)
constexpr std::size_t kVector = 16;
constexpr std::size_t kRows = 12;
#elif defined(__AVX__)
constexpr std::size_t kVector = 8;
constexpr std::size_t kRows = 6;
#else
constexpr std::size_t kVector = 4;
constexpr std::size_t kRows = 3;
#endif
constexpr std::size_t kVectors = kPanel / kVector;
using Vector = float __attribute__((vector_size(kVector * sizeof(float))));
// The same anywhere in an array of floats. Loads and stores go through it, not through memcpy: that one would send
// every row over the stack.
using Unaligned = float __attribute__((vector_size(kVector * sizeof(float)), aligned(alignof(float)), may_alias));

// Lanes outside [first, last) become `other`.
inline void keep_lanes(std::int64_t first, std::int64_t last, float other, float* row) {
#pragma omp simd
  for (int i = 0; i < kPanel; ++i) row[i] = i >= first && i < last ? row[i] : other;
}

struct Panel {
  const float* a;
  std::int64_t a_row, a_inner;  // strides of r and k
  const float* b;               // 16 columns can be read, whatever the width
  std::int64_t b_row;           // stride of k
  float* c;
  std::int64_t c_row;  // stride of r
  std::int64_t inner;  // number of k
  std::int64_t width = kPanel;
  bool accumulate = true;
};

inline float* row_of(const Panel& p, std::size_t r) { return p.c + static_cast<std::int64_t>(r) * p.c_row; }

// Everything below is unrolled, so that `sums` lives in registers.
template <std::size_t Rows>
inline void multiply_full_rows(const Panel& p) {
  Vector sums[Rows][kVectors] = {};
  if (p.accumulate) {
#pragma GCC unroll 16
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = reinterpret_cast<const Unaligned*>(row_of(p, r))[v];
    }
  }
  const float* a = p.a;
  const float* b = p.b;
  for (std::int64_t k = 0; k < p.inner; ++k, a += p.a_inner, b += p.b_row) {
    const Unaligned* const row = reinterpret_cast<const Unaligned*>(b);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] += a[static_cast<std::int64_t>(r) * p.a_row] * row[v];
    }
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) reinterpret_cast<Unaligned*>(row_of(p, r))[v] = sums[r][v];
  }
}

// A narrow panel goes through a full one beside it.
template <std::size_t Rows>
inline void multiply_rows(const Panel& p) {
  if (p.width == kPanel) return multiply_full_rows<Rows>(p);
  PanelRow full[Rows] = {};
  Panel wide = p;
  wide.c = full[0].x;
  wide.c_row = kPanel;
  for (std::size_t r = 0; p.accumulate && r < Rows; ++r) std::copy_n(row_of(p, r), p.width, full[r].x);
  multiply_full_rows<Rows>(wide);
  for (std::size_t r = 0; r < Rows; ++r) std::copy_n(full[r].x, p.width, row_of(p, r));
}

template <std::size_t Rows>
inline void multiply_rest(const Panel& p, std::int64_t rows) {
  if (rows == static_cast<std::int64_t>(Rows)) {
    multiply_rows<Rows>(p);
  } else if constexpr (Rows > 1) {
    multiply_rest<Rows - 1>(p, rows);
  }
}

inline void multiply_panel(Panel p, std::int64_t rows) {
  constexpr auto kStep = static_cast<std::int64_t>(kRows);
  for (; rows >= kStep; rows -= kStep) {
    multiply_rows<kRows>(p);
    p.a += kStep * p.a_row;
    p.c += kStep * p.c_row;
  }
  multiply_rest<kRows - 1>(p, rows);
}

// --- A narrow panel: lane 2j of b holds column j for even k, lane 2j + 1 for odd k, so that no lane is idle. A row of
// b is two k; both neighbours in a, whose number is even.

constexpr std::int64_t kHalf = kPanel / 2;  // the most columns of such a panel

using PairBits = std::int64_t __attribute__((vector_size(kVector * sizeof(float))));
using UnalignedPair = std::int64_t __attribute__((aligned(alignof(float)), may_alias));

inline void store_pairs(const PanelRow& lanes, const Panel& p, float* c) {
  PanelRow sums = {};
#pragma omp simd
  for (int j = 0; j < kHalf; ++j) sums.x[j] = lanes.x[2 * j] + lanes.x[2 * j + 1];
  if (p.width == kHalf) {
#pragma omp simd
    for (int j = 0; j < kHalf; ++j) c[j] = (p.accumulate ? c[j] : 0.0F) + sums.x[j];
  } else {
    for (std::int64_t j = 0; j < p.width; ++j) c[j] = (p.accumulate ? c[j] : 0.0F) + sums.x[j];
  }
}

template <std::size_t Rows>
inline void multiply_pairs_of_rows(const Panel& p) {
  Vector sums[Rows][kVectors] = {};
  for (std::int64_t k = 0; k < p.inner; k += 2) {
    const Unaligned* const row = reinterpret_cast<const Unaligned*>(p.b + k * kHalf);
#pragma GCC unroll 16
    for (std::size_t r = 0; r < Rows; ++r) {
      // Not auto, which would forget the alignment.
      const UnalignedPair* const pair =
          reinterpret_cast<const UnalignedPair*>(p.a + static_cast<std::int64_t>(r) * p.a_row + k);
      const Vector both = reinterpret_cast<Vector>(PairBits{} + *pair);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] += both * row[v];
    }
  }
#pragma GCC unroll 16
  for (std::size_t r = 0; r < Rows; ++r) {
    PanelRow lanes;
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) reinterpret_cast<Vector*>(lanes.x)[v] = sums[r][v];
    store_pairs(lanes, p, row_of(p, r));
  }
}

template <std::size_t Rows>
inline void multiply_pairs_rest(const Panel& p, std::int64_t rows) {
  if (rows == static_cast<std::int64_t>(Rows)) {
    multiply_pairs_of_rows<Rows>(p);
  } else if constexpr (Rows > 1) {
    multiply_pairs_rest<Rows - 1>(p, rows);
  }
}

inline void multiply_pairs(Panel p, std::int64_t rows) {
  constexpr auto kStep = static_cast<std::int64_t>(kRows);
  for (; rows >= kStep; rows -= kStep) {
    multiply_pairs_of_rows<kRows>(p);
    p.a += kStep * p.a_row;
    p.c += kStep * p.c_row;
  }
  multiply_pairs_rest<kRows - 1>(p, rows);
}

}  // namespace
}  // namespace shardora::cpu
