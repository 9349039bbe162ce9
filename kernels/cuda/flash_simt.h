// Products of tiles in shared memory by plain fp32 arithmetic: 256 threads, 16 x 16; thread (y, x) owns the elements of
// rows y + 16 i and columns x + 16 j of a product, so that a warp reads shared memory without bank conflicts.
#pragma once

#include "kernels/cuda/flash_tiles.h"

namespace shardora::cuda {

inline constexpr int kSide = 16, kFlashThreads = kSide * kSide;

// Rows of shared memory lie 16 bytes further apart than they are long: rows x, x + 1, … begin in different banks.
__host__ __device__ constexpr int padded(int width) { return width + 4; }

__device__ inline int thread_x() { return static_cast<int>(threadIdx.x) % kSide; }
__device__ inline int thread_y() { return static_cast<int>(threadIdx.x) / kSide; }

// `to` [kRows, padded(kDim)] = the rows of `from`, zero beyond them and beyond dim.
template <int kRows, int kDim>
__device__ void load_tile(const FlashShape& shape, HeadRows<const float> from, Range rows, float* to) {
  using Four = AlignedVector<float>;
  constexpr int kPacks = kDim / Four::kCount;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPacks; i += kFlashThreads) {
    const int row = i / kPacks, d = i % kPacks * Four::kCount;
    store_vector(to + row * padded(kDim) + d, load_of_row(shape, from, rows, row, d));
  }
}

__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }

// A thread's share of a product [16 kRows, 16 kColumns]: Scores, as flash_softmax.h has them.
template <int kRows, int kColumns>
struct Patch {
  static constexpr int kRowCount = kRows, kColumnCount = kColumns, kLanes = kSide;
  static constexpr int kWidth = kSide * kColumns;
  Registers<Registers<float, kColumns>, kRows> values = {};
  __device__ static int row(int i) { return thread_y() + kSide * i; }
  __device__ static int column(int j) { return thread_x() + kSide * j; }
  __device__ float& at(int i, int j) { return values[i][j]; }

  // += a b^T: a [16 kRows, kInner], b [16 kColumns, kInner], rows padded.
  template <int kInner>
  __device__ void add_a_bt(const float* a, const float* b) {
#pragma unroll 4
    for (int k = 0; k < kInner; k += 4) {
      Registers<float4, kColumns> y;
#pragma unroll
      for (int j = 0; j < kColumns; ++j) y[j] = load4(b + column(j) * padded(kInner) + k);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const float4 x = load4(a + row(i) * padded(kInner) + k);
#pragma unroll
        for (int j = 0; j < kColumns; ++j) at(i, j) += x.x * y[j].x + x.y * y[j].y + x.z * y[j].z + x.w * y[j].w;
      }
    }
  }
  // To [16 kRows, 16 kColumns], rows padded.
  __device__ void store(float* to) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) to[row(i) * padded(kWidth) + column(j)] = at(i, j);
    }
  }
};

// The accumulator of a product [16 kRows, kDim]: thread x has columns 2x, 2x + 1 of each 32.
template <int kRows, int kDim>
struct WideSums {
  Registers<Registers<float, kDim / kSide>, kRows> values = {};
  __device__ static int column(int j) { return thread_x() * 2 + j / 2 * 2 * kSide + j % 2; }

  // += p b: p [16 kRows, kInner], b [kInner, kDim], rows padded.
  template <int kInner>
  __device__ void add_product(const float* p, const float* b) {
    p += thread_y() * padded(kInner);
    b += thread_x() * 2;
#pragma unroll 1
    for (int k = 0; k < kInner; k += 4) {
      Registers<float4, kRows> x;
#pragma unroll
      for (int i = 0; i < kRows; ++i) x[i] = load4(p + i * kSide * padded(kInner) + k);
      add_row(b + k * padded(kDim), [&](int i) { return x[i].x; });
      add_row(b + (k + 1) * padded(kDim), [&](int i) { return x[i].y; });
      add_row(b + (k + 2) * padded(kDim), [&](int i) { return x[i].z; });
      add_row(b + (k + 3) * padded(kDim), [&](int i) { return x[i].w; });
    }
  }
  __device__ void scale_rows(const Registers<float, kRows>& factors) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int j = 0; j < kDim / kSide; ++j) values[i][j] *= factors[i];
    }
  }
  // The rows of `to` = the sums.
  __device__ void store(HeadRows<float> to, Range rows, int dim) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = rows.first + thread_y() + kSide * i;
      if (row >= rows.last) continue;
#pragma unroll
      for (int j = 0; j < kDim / kSide; ++j) {
        if (column(j) < dim) to.row(row)[column(j)] = values[i][j];
      }
    }
  }

 private:
  template <class Factor>
  __device__ void add_row(const float* b, Factor factor) {
#pragma unroll
    for (int j = 0; j < kDim / kSide; j += 2) {
      const float y0 = b[j * kSide], y1 = b[j * kSide + 1];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        values[i][j] += factor(i) * y0;
        values[i][j + 1] += factor(i) * y1;
      }
    }
  }
};

}  // namespace shardora::cuda
