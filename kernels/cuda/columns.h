// Passes over [rows, width] with parameters or sums of columns. A thread owns N neighbouring columns and walks down the
// rows of its part; a block is 32 such threads side by side and 8 below one another, which take the rows in turn.
// Sums over rows are made in two passes of fixed order and without atomics: each part of the rows writes its sums into
// the workspace, [parts, width], and add_column_parts() joins them.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/elements.h"

namespace shardora::cuda {

// How many parts the rows are cut into: enough to fill the device, few enough for the workspace.
struct RowParts {
  std::int64_t parts = 0, rows_each = 0;
};
RowParts row_parts(std::int64_t rows, std::int64_t width);

// out[j] += sum over p of parts[p,j].
void add_column_parts(Backend& backend, const float* parts, std::int64_t count, std::int64_t width, float* out);

inline constexpr int kRowLanes = 8;

// N elements, widened.
template <int N>
struct Floats {
  float values[static_cast<std::size_t>(N)];
  __device__ float& operator[](int k) { return values[k]; }
  __device__ const float& operator[](int k) const { return values[k]; }
};
template <int N>
__device__ Floats<N> all_of(float value) {
  Floats<N> out;
#pragma unroll
  for (int k = 0; k < N; ++k) out[k] = value;
  return out;
}
// N is 1 or a multiple of a vector; then the address is one of 16 bytes.
template <int N, class T>
__device__ Floats<N> read(const T* from) {
  Floats<N> out;
  if constexpr (N == 1) {
    out[0] = to_float(*from);
  } else {
#pragma unroll
    for (int first = 0; first < N; first += AlignedVector<T>::kCount) {
      const AlignedVector<T> vector = load_vector(from + first);
#pragma unroll
      for (int k = 0; k < AlignedVector<T>::kCount; ++k) out[first + k] = to_float(vector.values[k]);
    }
  }
  return out;
}
template <int N, class T>
__device__ void write(T* to, const Floats<N>& floats) {
  if constexpr (N == 1) {
    *to = from_float<T>(floats[0]);
  } else {
#pragma unroll
    for (int first = 0; first < N; first += AlignedVector<T>::kCount) {
      AlignedVector<T> vector;
#pragma unroll
      for (int k = 0; k < AlignedVector<T>::kCount; ++k) vector.values[k] = from_float<T>(floats[first + k]);
      store_vector(to + first, vector);
    }
  }
}

struct ColumnWork {
  std::int64_t rows, width, rows_each;
};

// Where a thread stands in such a pass.
template <int N>
struct ColumnPlace {
  std::int64_t column, first, last;  // its columns are [column, + N), its rows first, first + kRowLanes, … < last
  bool inside;

  __device__ explicit ColumnPlace(const ColumnWork& work)
      : column((std::int64_t{blockIdx.x} * kWarp + threadIdx.x) * N),
        first(std::int64_t{blockIdx.y} * work.rows_each + threadIdx.y),
        last((std::int64_t{blockIdx.y} + 1) * work.rows_each),
        inside(column < work.width) {
    if (last > work.rows) last = work.rows;
    if (!inside) last = 0;
  }
};

// Joins the sums of the block's threads, which all call: at(column) is where a column's part stands.
template <int N, class At>
__device__ void write_part(const ColumnPlace<N>& place, const Floats<N>& sums, const ColumnWork& work, const At& at) {
  constexpr std::size_t kFloats = std::size_t{kRowLanes} * kWarp * N;
  SHARDORA_SHARED(float, lanes, kFloats);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
#pragma unroll
  for (int k = 0; k < N; ++k) lanes[(y * N + k) * kWarp + x] = sums[k];
  __syncthreads();
  for (int k = y; k < N; k += kRowLanes) {
    float sum = 0;
#pragma unroll
    for (int lane = 0; lane < kRowLanes; ++lane) sum += lanes[(lane * N + k) * kWarp + x];
    if (place.column + k < work.width) *at(place.column + k) = sum;
  }
  __syncthreads();
}

// The gain and the bias of a thread's columns: 1 and 0 where absent.
template <int N>
struct Columns {
  Floats<N> gain = all_of<N>(1), bias = all_of<N>(0);

  __device__ Columns(const float* gains, const float* biases, std::int64_t column, bool inside) {
    if (inside && gains != nullptr) gain = read<N>(gains + column);
    if (inside && biases != nullptr) bias = read<N>(biases + column);
  }
  __device__ Floats<N> output(Floats<N> u) const {
#pragma unroll
    for (int k = 0; k < N; ++k) u[k] = gain[k] * u[k] + bias[k];
    return u;
  }
  __device__ Floats<N> gradient(Floats<N> dy) const {
#pragma unroll
    for (int k = 0; k < N; ++k) dy[k] = gain[k] * dy[k];
    return dy;
  }
};

template <int N>
__device__ void add_products(Floats<N>& sums, const Floats<N>& a, const Floats<N>& b) {
#pragma unroll
  for (int k = 0; k < N; ++k) sums[k] += a[k] * b[k];
}

struct ColumnPass {
  std::int64_t rows, width;
  std::int64_t sums = 1;    // by column: their parts fit into the workspace
  std::int64_t period = 0;  // neighbours are not neighbours across a multiple of it; 0: the width
  std::initializer_list<const void*> pointers;
};

// How such a pass is cut, and started: start(std::integral_constant<int, N>{}, grid, work) with N a vector of T where
// the pointers allow, else 1.
template <class T, class Start>
void over_columns(const ColumnPass& pass, const Start& start) {
  const RowParts cut = row_parts(pass.rows, pass.width * pass.sums);
  if (cut.parts == 0) return;
  const auto start_with = [&](auto count) {
    const std::int64_t columns = std::int64_t{kWarp} * count;
    start(count, dim3(static_cast<unsigned>((pass.width + columns - 1) / columns), static_cast<unsigned>(cut.parts)),
          ColumnWork{pass.rows, pass.width, cut.rows_each});
  };
  if (is_vector_aligned<T>(pass.period == 0 ? pass.width : pass.period, pass.pointers)) {
    start_with(std::integral_constant<int, AlignedVector<T>::kCount>{});
  } else {
    start_with(std::integral_constant<int, 1>{});
  }
}
inline dim3 column_block() { return {kWarp, kRowLanes}; }

}  // namespace shardora::cuda
