// Products of panels: the second factor is packed sixteen columns at a time, then multiplied from the caches.
#include "kernels/cpu/packed_gemm.h"

#include <omp.h>

#include <algorithm>

#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/panel.h"
#include "kernels/float_types.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

constexpr std::int64_t kDepth = 256;              // k of one block
constexpr std::int64_t kPackedFloats = 16 << 10;  // 64 KiB of packed b on the stack: the second-level cache
constexpr std::int64_t kPage = 1024;              // floats
constexpr double kWorthThreads = 1 << 17;         // multiplications
constexpr std::int64_t kRowsWorthPacking = 128;   // a thread's rows; with fewer, each packs its own columns only
constexpr auto kStep = static_cast<std::int64_t>(kRows);

bool worth_threads(std::int64_t m, std::int64_t n, std::int64_t k) {
  return static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) >= kWorthThreads;
}

struct Share {
  std::int64_t first, count;
};

struct Member {
  std::int64_t thread, threads;  // of a team
};

// A thread's share of `total`, in whole units.
Share share_of(std::int64_t total, std::int64_t unit, Member member) {
  const std::int64_t units = (total + unit - 1) / unit;
  const std::int64_t begin = std::min(total, units * member.thread / member.threads * unit);
  const std::int64_t end = std::min(total, units * (member.thread + 1) / member.threads * unit);
  return {begin, end - begin};
}

// work(member), by a team where that pays. Alone it stays outside of OpenMP, which would allocate a team of one.
template <class Work>
void share_work(bool threads, const Work& work) {
  if (!threads) return work(Member{0, 1});
#pragma omp parallel
  work(Member{omp_get_thread_num(), omp_get_num_threads()});
}

// --- Rows times a packed factor: c[m,n] = a[m,k] b[k,n], threads over rows or, where those are few, over columns.

// T: how b is stored, float or bfloat16's bits.
template <class T>
struct Packed {
  const float* a;  // [m,k]
  const T* b;
  std::int64_t k_stride, n_stride;
  float* c;  // [m,n]
  std::int64_t m, n, k;
  float scale;
  bool accumulate;
};

struct Block {
  std::int64_t k0, depth, n0, width;
  bool accumulate;
};

// What becomes of the columns from n on, a panel or the rest of one. A rest that accumulates is a full panel further to
// the left, with zeros for the columns that are done already; else it is held in pairs where it is half a panel.
struct Strip {
  std::int64_t first, width, done;  // columns of the block; `done` of them are zeros
  bool pairs;
};
Strip strip_at(const Block& block, std::int64_t n) {
  const std::int64_t width = std::min(kPanel, block.width - n), done = kPanel - width;
  if (width < kPanel && block.accumulate && n >= done) return {n - done, kPanel, done, false};
  return {n, width, 0, width <= kHalf && block.depth % 2 == 0};
}

SHARDORA_INLINE float to_float(float x) { return x; }
SHARDORA_INLINE float to_float(std::uint16_t bits) { return float_from_bf16(bits); }

// b of one block as panels, times the scale.
template <class T>
void pack(const Packed<T>& op, const Block& block, float* to) {
  for (std::int64_t n = 0; n < block.width; n += kPanel) {
    const Strip strip = strip_at(block, n);
    const T* const from = op.b + block.k0 * op.k_stride + (block.n0 + strip.first) * op.n_stride;
    float* const panel = to + n * block.depth;
    if (strip.done > 0 || strip.width < kPanel) std::fill_n(panel, kPanel * block.depth, 0.0F);
    const std::int64_t step = strip.pairs ? 2 : 1;
    for (std::int64_t k = 0; k < block.depth; ++k) {
      float* const row = strip.pairs ? panel + k / 2 * kPanel + k % 2 : panel + k * kPanel;
      for (std::int64_t j = strip.done; j < strip.width; ++j) {
        row[j * step] = op.scale * to_float(from[k * op.k_stride + j * op.n_stride]);
      }
    }
  }
}

template <class T>
void multiply_block(const Packed<T>& op, const Block& block, const float* packed, Share rows) {
  const std::int64_t step = op.n % kPage == 0 ? kStep / 2 : kStep;  // rows pages apart share few cache sets
  for (std::int64_t row = rows.first; row < rows.first + rows.count; row += step) {
    const std::int64_t count = std::min(step, rows.first + rows.count - row);
    for (std::int64_t n = 0; n < block.width; n += kPanel) {
      const Strip strip = strip_at(block, n);
      const Panel panel{.a = op.a + row * op.k + block.k0,
                        .a_row = op.k,
                        .a_inner = 1,
                        .b = packed + n * block.depth,
                        .b_row = kPanel,
                        .c = op.c + row * op.n + block.n0 + strip.first,
                        .c_row = op.n,
                        .inner = block.depth,
                        .width = strip.width,
                        .accumulate = block.accumulate};
      if (strip.pairs) {
        multiply_pairs(panel, count);
      } else {
        multiply_panel(panel, count);
      }
    }
  }
}

template <class T>
void multiply_shares(const Packed<T>& op, Share rows, Share of_columns) {
  alignas(64) float packed[kPackedFloats];
  const std::int64_t depth = std::min(op.k, kDepth);
  const std::int64_t columns = kPackedFloats / depth / kPanel * kPanel;
  const std::int64_t end = rows.count > 0 ? of_columns.first + of_columns.count : 0;
  for (std::int64_t n0 = of_columns.first; n0 < end; n0 += columns) {
    for (std::int64_t k0 = 0; k0 < op.k; k0 += depth) {
      const Block block{k0, std::min(depth, op.k - k0), n0, std::min(columns, end - n0), op.accumulate || k0 > 0};
      pack(op, block, packed);
      multiply_block(op, block, packed, rows);
    }
  }
}

template <class T>
void packed_gemm(const Packed<T>& op) {
  const bool by_rows = op.m >= op.n || op.m >= kRowsWorthPacking * omp_get_max_threads();
  share_work(worth_threads(op.m, op.n, op.k), [&](Member member) {
    multiply_shares(op, by_rows ? share_of(op.m, kStep, member) : Share{0, op.m},
                    by_rows ? Share{0, op.n} : share_of(op.n, kPanel, member));
  });
}

void many_rows(const MatMul& op) {
  const std::int64_t ldb = op.b.size(1);
  packed_gemm<float>({.a = op.a.as<float>(),
                      .b = op.b.as<float>(),
                      .k_stride = op.transpose_b ? 1 : ldb,
                      .n_stride = op.transpose_b ? ldb : 1,
                      .c = op.c.as<float>(),
                      .m = op.c.size(0),
                      .n = op.c.size(1),
                      .k = op.a.size(1),
                      .scale = op.scale,
                      .accumulate = op.accumulate});
}

// --- Sums over tokens: c[m,n] = a[k,m]^T b[k,n], threads over columns; each column's sum is one thread's, in order.

constexpr std::int64_t kTokens = 64;  // of one block: its columns stay in the first-level cache

// sums[i][j] of the columns [first, first + width) of `wide`, whose partner `narrow` has the short side.
struct TokenSums {
  const float *narrow, *wide;
  std::int64_t short_side, long_side, tokens;
  std::int64_t first, width;
};

void copy_panels(const TokenSums& s, std::int64_t t0, std::int64_t count, std::int64_t first, float* packed) {
  for (std::int64_t t = 0; t < count; ++t) {
    const float* const from = s.wide + (t0 + t) * s.long_side + s.first;
    float* const row = packed + t * kPanel;
    for (std::int64_t n = first; n < s.width; n += kPanel) {
      if (s.width - n >= kPanel) {
        std::copy_n(from + n, kPanel, row + n * kTokens);
      } else {
        std::copy_n(from + n, s.width - n, row + n * kTokens);
      }
    }
  }
}

// Columns are read where they lie, also past a narrow panel into the next row; but copied where that would be the end
// of the memory, and where rows lie whole pages apart, which share few cache sets.
void sum_over_tokens(const TokenSums& s, float (*sums)[kNarrow]) {
  alignas(64) float packed[kNarrow * kTokens] = {};
  const std::int64_t full = s.width / kPanel * kPanel;
  for (std::int64_t t0 = 0; t0 < s.tokens; t0 += kTokens) {
    const std::int64_t count = std::min(kTokens, s.tokens - t0);
    const bool last = (s.tokens - t0 - count) * s.long_side < kPanel;
    const std::int64_t first_copied = s.long_side % kPage == 0 ? 0 : last ? full : s.width;
    copy_panels(s, t0, count, first_copied, packed);
    for (std::int64_t n = 0; n < s.width; n += kPanel) {
      const bool copied = n >= first_copied;
      multiply_panel({.a = s.narrow + t0 * s.short_side,
                      .a_row = 1,
                      .a_inner = s.short_side,
                      .b = copied ? packed + n * kTokens : s.wide + t0 * s.long_side + s.first + n,
                      .b_row = copied ? kPanel : s.long_side,
                      .c = sums[0] + n,
                      .c_row = kNarrow,
                      .inner = count},
                     s.short_side);
    }
  }
}

// c of the columns that `s` sums.
void store_sums(const MatMul& op, bool swapped, const TokenSums& s, const float (*sums)[kNarrow]) {
  const std::int64_t n = op.c.size(1), row_stride = swapped ? 1 : n, column_stride = swapped ? n : 1;
  for (std::int64_t i = 0; i < s.short_side; ++i) {
    float* const row = op.c.as<float>() + i * row_stride + s.first * column_stride;
    for (std::int64_t j = 0; j < s.width; ++j) {
      float& to = row[j * column_stride];
      to = (op.accumulate ? to : 0.0F) + op.scale * sums[i][j];
    }
  }
}

void over_tokens(const MatMul& op) {
  const std::int64_t m = op.c.size(0), n = op.c.size(1), k = op.a.size(0);
  const bool swapped = n < m;  // the short side goes to the accumulators' rows
  const std::int64_t short_side = swapped ? n : m, long_side = swapped ? m : n;
  share_work(worth_threads(m, n, k), [&](Member member) {
    const Share mine = share_of(long_side, kPanel, member);
    for (std::int64_t first = mine.first; first < mine.first + mine.count; first += kNarrow) {
      alignas(64) float sums[kNarrow][kNarrow] = {};
      const TokenSums s{.narrow = (swapped ? op.b : op.a).as<float>(),
                        .wide = (swapped ? op.a : op.b).as<float>(),
                        .short_side = short_side,
                        .long_side = long_side,
                        .tokens = k,
                        .first = first,
                        .width = std::min(kNarrow, mine.first + mine.count - first)};
      sum_over_tokens(s, sums);
      store_sums(op, swapped, s, sums);
    }
  });
}

}  // namespace

void LevelLoops::narrow_gemm(const MatMul& op) {
  if (op.transpose_a) {
    over_tokens(op);
  } else {
    many_rows(op);
  }
}

void LevelLoops::bf16_gemm(const Bf16Gemm& op) {
  packed_gemm<std::uint16_t>({.a = op.x,
                              .b = op.w,
                              .k_stride = op.k_stride,
                              .n_stride = op.n_stride,
                              .c = op.y,
                              .m = op.m,
                              .n = op.n,
                              .k = op.k,
                              .scale = 1.0F,
                              .accumulate = op.accumulate});
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
