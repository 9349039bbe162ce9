#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"

namespace shardora::cuda {
namespace {

template <class T>
struct Forward {
  const T *u, *residual;
  const float *gain, *bias;
  T* y;
};

template <class T, int N>
__global__ void scale_columns_forward_kernel(Forward<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const Columns<N> columns(op.gain, op.bias, place.column, place.inside);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    Floats<N> y = columns.output(read<N>(op.u + at));
    if (op.residual != nullptr) {
      const Floats<N> residual = read<N>(op.residual + at);
#pragma unroll
      for (int k = 0; k < N; ++k) y[k] = residual[k] + y[k];
    }
    write(op.y + at, y);
  }
}

template <class T>
struct Backward {
  const T *dy, *u;
  const float* gain;
  T* du;
  bool accumulate;
  float* parts;  // of h
};

template <class T, int N, bool kWithSum>
__global__ void scale_columns_backward_kernel(Backward<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const Columns<N> columns(op.gain, nullptr, place.column, place.inside);
  Floats<N> h = all_of<N>(0);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    const Floats<N> dy = read<N>(op.dy + at);
    if constexpr (kWithSum) add_products(h, dy, read<N>(op.u + at));
    Floats<N> du = columns.gradient(dy);
    if (op.accumulate) {
      const Floats<N> before = read<N>(op.du + at);
#pragma unroll
      for (int k = 0; k < N; ++k) du[k] += before[k];
    }
    write(op.du + at, du);
  }
  if constexpr (kWithSum) {
    float* const parts = op.parts + std::int64_t{blockIdx.y} * work.width;
    write_part(place, h, work, [=](std::int64_t j) { return parts + j; });
  }
}

}  // namespace

void scale_columns_forward(Backend& backend, const ScaleColumnsForward& op) {
  const std::int64_t width = op.u.size(1);
  SHARDORA_CHECK(op.y.shape == op.u.shape && (!op.residual || op.residual.shape == op.u.shape));
  SHARDORA_CHECK((!op.gain || op.gain.elements() == width) && (!op.bias || op.bias.elements() == width));
  if (!op.gain && !op.bias && !op.residual && op.y.data == op.u.data) return;
  with_element_type(op.u.dtype, [&](auto type) {
    using T = decltype(type);
    const Forward<T> pointers{.u = elements_of<T>(op.u),
                              .residual = elements_of<T>(op.residual),
                              .gain = elements_of<float>(op.gain),
                              .bias = elements_of<float>(op.bias),
                              .y = elements_of<T>(op.y)};
    over_columns<T>({.rows = op.u.size(0),
                     .width = width,
                     .pointers = {pointers.u, pointers.residual, pointers.gain, pointers.bias, pointers.y}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      launch(scale_columns_forward_kernel<T, count>, grid, column_block(), 0, stream_of(backend),
                             pointers, work);
                    });
  });
}

void scale_columns_backward(Backend& backend, const ScaleColumnsBackward& op) {
  const std::int64_t rows = op.dy.size(0), width = op.dy.size(1);
  SHARDORA_CHECK(op.du.shape == op.dy.shape && (!op.h || (op.u.shape == op.dy.shape && op.h.elements() == width)));
  SHARDORA_CHECK(!op.gain || op.gain.elements() == width);
  SHARDORA_CHECK(!op.accumulate || op.du.data != op.dy.data);
  const RowParts cut = row_parts(rows, width);
  with_element_type(op.dy.dtype, [&](auto type) {
    using T = decltype(type);
    const Backward<T> pointers{.dy = elements_of<T>(op.dy),
                               .u = op.h ? elements_of<T>(op.u) : nullptr,
                               .gain = elements_of<float>(op.gain),
                               .du = elements_of<T>(op.du),
                               .accumulate = op.accumulate,
                               .parts = op.h ? cuda_backend(backend).workspace<float>(cut.parts * width) : nullptr};
    over_columns<T>({.rows = rows, .width = width, .pointers = {pointers.dy, pointers.u, pointers.gain, pointers.du}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      const auto kernel = op.h ? scale_columns_backward_kernel<T, count, true>
                                               : scale_columns_backward_kernel<T, count, false>;
                      launch(kernel, grid, column_block(), 0, stream_of(backend), pointers, work);
                    });
    if (op.h) add_column_parts(backend, pointers.parts, cut.parts, width, op.h.as<float>());
  });
}

}  // namespace shardora::cuda
