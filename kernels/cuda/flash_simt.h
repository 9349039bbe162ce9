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

// `to` [kRows, padded(kDim)] = rows [first, last) of `from` in fp32, zero beyond them and beyond dim.
template <int kRows, int kDim, class T>
__device__ void load_tile(const FlashShape& shape, HeadRows<const T> from, std::int64_t first, std::int64_t last,
                          float* to) {
  constexpr int kCount = Pack<T>::kCount, kPacks = kDim / kCount;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPacks; i += kFlashThreads) {
    const int row = i / kPacks, d = i % kPacks * kCount;
    const bool inside = first + row < last;
    Pack<T> pack{};
    if (inside && shape.packs && d < shape.dim) {
      pack = load_pack(from.row(first + row) + d);
    } else if (inside && !shape.packs) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        if (d + k < shape.dim) pack.values[k] = from.row(first + row)[d + k];
      }
    }
#pragma unroll
    for (int k = 0; k < kCount; ++k) to[row * padded(kDim) + d + k] = to_float(pack.values[k]);
  }
}

__device__ inline float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }

// c += a b^T: a [16 kRows, kInner], b [16 kColumns, kInner], rows padded.
template <int kRows, int kColumns, int kInner>
__device__ void add_a_bt(const float* a, const float* b, Patch<kRows, kColumns>& c) {
  a += thread_y() * padded(kInner);
  b += thread_x() * padded(kInner);
#pragma unroll 4
  for (int k = 0; k < kInner; k += 4) {
    Registers<float4, kColumns> y;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) y[j] = load4(b + j * kSide * padded(kInner) + k);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const float4 x = load4(a + i * kSide * padded(kInner) + k);
#pragma unroll
      for (int j = 0; j < kColumns; ++j) c[i][j] += x.x * y[j].x + x.y * y[j].y + x.z * y[j].z + x.w * y[j].w;
    }
  }
}

// The accumulator of a product [16 kRows, kDim]: thread x has columns 2x, 2x + 1 of each 32.
template <int kRows, int kDim>
struct WideSums {
  Patch<kRows, kDim / kSide> values = {};
  __device__ static constexpr int column(int j) { return thread_x() * 2 + j / 2 * 2 * kSide + j % 2; }

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
  // Rows [first, first + count) of `to` = the sums.
  template <class T>
  __device__ void store(HeadRows<T> to, std::int64_t first, std::int64_t count, int dim) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = thread_y() + kSide * i;
      if (row >= count) continue;
#pragma unroll
      for (int j = 0; j < kDim / kSide; ++j) {
        if (column(j) < dim) to.row(first + row)[column(j)] = from_float<T>(values[i][j]);
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

// A product's elements into shared memory [16 kRows, 16 kColumns], rows padded.
template <int kRows, int kColumns>
__device__ void store_shared(const Patch<kRows, kColumns>& c, float* to) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      to[(thread_y() + kSide * i) * padded(kSide * kColumns) + thread_x() + kSide * j] = c[i][j];
    }
  }
}

}  // namespace shardora::cuda
