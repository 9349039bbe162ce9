// Products of bfloat16 tiles in shared memory by tensor cores: four warps, each with 16 rows, or twice 16, of what the
// block owns, so that a row's softmax stays within its warp and p goes from registers into the next product.
#pragma once

#include "kernels/cuda/flash_tiles.h"
#include "kernels/cuda/fragments.h"

namespace shardora::cuda {

inline constexpr int kMmaWarps = 4, kMmaThreads = 32 * kMmaWarps;

// Rows of shared memory lie 16 bytes further apart than they are long: eight of them begin in different banks.
__host__ __device__ constexpr int mma_padded(int width) { return width + 8; }

__device__ inline int lane_number() { return static_cast<int>(threadIdx.x) % 32; }
__device__ inline int warp_number() { return static_cast<int>(threadIdx.x) / 32; }

// `to` [kRows, mma_padded(kDim)] = the rows of `from`, zero beyond them and beyond dim: there after cp_async_wait_all()
// and a barrier.
template <int kRows, int kDim>
__device__ void start_tile(const FlashShape& shape, HeadRows<const BF16> from, Range rows, BF16* to) {
  constexpr int kCount = AlignedVector<BF16>::kCount, kVectors = kDim / kCount;
  if (!shape.aligned) {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < kRows * kVectors; i += kMmaThreads) {
      const int row = i / kVectors, d = i % kVectors * kCount;
      store_vector(to + row * mma_padded(kDim) + d, load_of_row(shape, from, rows, row, d));
    }
    return;
  }
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kVectors; i += kMmaThreads) {
    const int row = i / kVectors, d = i % kVectors * kCount;
    BF16* const at = to + row * mma_padded(kDim) + d;
    if (row < rows.count() && d < shape.dim) {
      cp_async_16(at, from.row(rows.first + row) + d);
    } else {
      store_vector(at, AlignedVector<BF16>{});
    }
  }
}

// Rows [row, row + 16) and columns [k, k + 16) of a tile.
template <int kDim>
__device__ FragmentA load_a(const BF16* tile, int row, int k) {
  const int lane = lane_number();
  const FragmentX4 m = ldmatrix_x4(tile + (row + lane % 16) * mma_padded(kDim) + k + lane / 16 * 8);
  return {{m.registers[0], m.registers[1], m.registers[2], m.registers[3]}};
}

struct TwoB {
  FragmentB left, right;  // columns 0..7 and 8..15
};
// Of the transposed tile: its columns [k, k + 16) as rows, its rows [row, row + 16) as columns.
template <int kDim>
__device__ TwoB load_b_transposed(const BF16* tile, int row, int k) {
  const int lane = lane_number();
  const FragmentX4 m = ldmatrix_x4(tile + (row + lane % 8 + lane / 16 * 8) * mma_padded(kDim) + k + lane / 8 % 2 * 8);
  return {{{m.registers[0], m.registers[1]}}, {{m.registers[2], m.registers[3]}}};
}
// Of the tile as it stands: its rows [row, row + 16) and columns [k, k + 16).
template <int kDim>
__device__ TwoB load_b(const BF16* tile, int row, int k) {
  const int lane = lane_number();
  const FragmentX4 m = ldmatrix_x4_trans(tile + (row + lane % 16) * mma_padded(kDim) + k + lane / 16 * 8);
  return {{{m.registers[0], m.registers[1]}}, {{m.registers[2], m.registers[3]}}};
}

// A warp's share of a product, [16 kStrips, 8 kParts], rows from 16 kStrips * warp on. Scores, as flash_softmax.h has
// them.
template <int kStrips, int kParts>
struct WarpTile {
  static constexpr int kRowCount = 2 * kStrips, kColumnCount = 2 * kParts, kLanes = 4;
  static constexpr int kWidth = 8 * kParts;
  Registers<Registers<FragmentC, kParts>, kStrips> parts = {};

  __device__ static int first_row() { return warp_number() * 16 * kStrips; }
  __device__ static int row(int i) { return first_row() + i / 2 * 16 + i % 2 * 8 + lane_number() / 4; }
  __device__ static int column(int j) { return j / 2 * 8 + lane_number() % 4 * 2 + j % 2; }
  __device__ float& at(int i, int j) { return parts[i / 2][j / 2].values[i % 2 * 2 + j % 2]; }

  // += a b^T: a [rows of the block, kDim], b [8 kParts, kDim].
  template <int kDim>
  __device__ void add_a_bt(const BF16* a, const BF16* b) {
#pragma unroll
    for (int k = 0; k < kDim; k += 16) {
      Registers<FragmentA, kStrips> left;
#pragma unroll
      for (int s = 0; s < kStrips; ++s) left[s] = load_a<kDim>(a, first_row() + 16 * s, k);
#pragma unroll
      for (int n = 0; n < kParts; n += 2) {
        const TwoB right = load_b_transposed<kDim>(b, 8 * n, k);
#pragma unroll
        for (int s = 0; s < kStrips; ++s) {
          mma_m16n8k16(parts[s][n], left[s], right.left);
          mma_m16n8k16(parts[s][n + 1], left[s], right.right);
        }
      }
    }
  }
  // += p b: p rounded to bfloat16, b [8 kInnerParts, kDim], of which columns from `column` on.
  template <int kDim, int kInnerParts>
  __device__ void add_product(const WarpTile<kStrips, kInnerParts>& p, const BF16* b, int column = 0) {
#pragma unroll
    for (int k = 0; k < kInnerParts; k += 2) {
      Registers<FragmentA, kStrips> left;
#pragma unroll
      for (int s = 0; s < kStrips; ++s) left[s] = rounded(p.parts[s][k], p.parts[s][k + 1]);
#pragma unroll
      for (int n = 0; n < kParts; n += 2) {
        const TwoB right = load_b<kDim>(b, 8 * k, column + 8 * n);
#pragma unroll
        for (int s = 0; s < kStrips; ++s) {
          mma_m16n8k16(parts[s][n], left[s], right.left);
          mma_m16n8k16(parts[s][n + 1], left[s], right.right);
        }
      }
    }
  }
  __device__ void scale_rows(const Registers<float, kRowCount>& factors) {
#pragma unroll
    for (int i = 0; i < kRowCount; ++i) {
#pragma unroll
      for (int j = 0; j < kColumnCount; ++j) at(i, j) *= factors[i];
    }
  }
  // The rows of `to`, columns from `column` on = the sums.
  __device__ void store(const FlashShape& shape, HeadRows<BF16> to, Range rows, int first_column = 0) {
#pragma unroll
    for (int i = 0; i < kRowCount; ++i) {
      if (rows.first + row(i) >= rows.last) continue;
      BF16* const out = to.row(rows.first + row(i));
#pragma unroll
      for (int j = 0; j < kColumnCount; j += 2) {
        const int d = first_column + column(j);
        if (d + 1 < shape.dim && shape.aligned) {
          *reinterpret_cast<std::uint32_t*>(out + d) = pack_bf16x2(at(i, j), at(i, j + 1));
        } else {
          if (d < shape.dim) out[d] = from_float<BF16>(at(i, j));
          if (d + 1 < shape.dim) out[d + 1] = from_float<BF16>(at(i, j + 1));
        }
      }
    }
  }

 private:
  // Two parts side by side become the left operand of the next product: its layout is theirs.
  __device__ static FragmentA rounded(const FragmentC& left, const FragmentC& right) {
    return {{pack_bf16x2(left.values[0], left.values[1]), pack_bf16x2(left.values[2], left.values[3]),
             pack_bf16x2(right.values[0], right.values[1]), pack_bf16x2(right.values[2], right.values[3])}};
  }
};

// Whether a row of the calling warp's 16 kStrips meets one of `columns`: the same for all its lanes.
template <bool kOfKeys, int kStrips>
__device__ bool warp_meets(const FlashShape& shape, const Work& work, Range columns) {
  const int first = work.rows.first + warp_number() * 16 * kStrips;
  const Range rows = attention::overlap<int>({first, first + 16 * kStrips}, work.rows);
  if (rows.count() == 0) return false;
  return attention::overlap(columns, columns_of<kOfKeys>(shape.mask, work.sequence, rows)).count() > 0;
}

}  // namespace shardora::cuda
