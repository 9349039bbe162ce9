#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elements.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(std::int64_t items) { return static_cast<unsigned>((items + kThreads - 1) / kThreads); }

template <class T>
__global__ void add_vectors_kernel(const T* x, T* y, std::int64_t vectors) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= vectors) return;
  const AlignedVector<T> a = load_vector(x + i * AlignedVector<T>::kCount);
  AlignedVector<T> b = load_vector(y + i * AlignedVector<T>::kCount);
#pragma unroll
  for (int k = 0; k < AlignedVector<T>::kCount; ++k)
    b.values[k] = from_float<T>(to_float(b.values[k]) + to_float(a.values[k]));
  store_vector(y + i * AlignedVector<T>::kCount, b);
}

template <class T>
__global__ void add_kernel(const T* x, T* y, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) y[i] = from_float<T>(to_float(y[i]) + to_float(x[i]));
}

template <class From, class To>
__global__ void convert_kernel(const From* from, To* to, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) to[i] = from_float<To>(to_float(from[i]));
}

template <class T, int N>
__global__ void column_sum_kernel(const T* dy, ColumnWork work, float* parts) {
  const ColumnPlace<N> place(work);
  Floats<N> sums = all_of<N>(0);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const Floats<N> row = read<N>(dy + t * work.width + place.column);
#pragma unroll
    for (int k = 0; k < N; ++k) sums[k] += row[k];
  }
  write_part(place, sums, work,
             [&](std::int64_t column) { return parts + std::int64_t{blockIdx.y} * work.width + column; });
}

template <class From>
void convert_from(Backend& backend, const From* from, TensorView to) {
  const std::int64_t count = to.elements();
  with_element_type(to.dtype, [&](auto type) {
    using To = decltype(type);
    launch(convert_kernel<From, To>, blocks_for(count), kThreads, 0, stream_of(backend), from, elements_of<To>(to),
           count);
  });
}

}  // namespace

void add(Backend& backend, const Add& op) {
  SHARDORA_CHECK(op.x.shape == op.y.shape && op.x.dtype == op.y.dtype);
  const std::int64_t count = op.x.elements();
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* const x = elements_of<T>(op.x);
    T* const y = elements_of<T>(op.y);
    if (is_vector_aligned<T>(count, {x, y})) {
      const std::int64_t vectors = count / AlignedVector<T>::kCount;
      launch(add_vectors_kernel<T>, blocks_for(vectors), kThreads, 0, stream_of(backend), x, y, vectors);
    } else {
      launch(add_kernel<T>, blocks_for(count), kThreads, 0, stream_of(backend), x, y, count);
    }
  });
}

void convert(Backend& backend, const Convert& op) {
  SHARDORA_CHECK(op.from.shape == op.to.shape);
  if (op.from.dtype == DType::kF16) return convert_from(backend, static_cast<const F16*>(op.from.data), op.to);
  with_element_type(op.from.dtype,
                    [&](auto type) { convert_from(backend, elements_of<decltype(type)>(op.from), op.to); });
}

void column_sum(Backend& backend, const ColumnSum& op) {
  const std::int64_t rows = op.dy.size(0), width = op.dy.size(1);
  SHARDORA_CHECK(op.dbias.shape == (Shape{width}));
  const RowParts cut = row_parts(rows, width);
  if (cut.parts == 0) return;
  auto* const parts = cuda_backend(backend).workspace<float>(cut.parts * width);
  with_element_type(op.dy.dtype, [&](auto type) {
    using T = decltype(type);
    const T* const dy = elements_of<T>(op.dy);
    over_columns<T>({.rows = rows, .width = width, .pointers = {dy}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      launch(column_sum_kernel<T, count>, grid, column_block(), 0, stream_of(backend), dy, work, parts);
                    });
  });
  add_column_parts(backend, parts, cut.parts, width, op.dbias.as<float>());
}

}  // namespace shardora::cuda
