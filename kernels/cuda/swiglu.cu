#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"
#include "kernels/formulas.h"

namespace shardora::cuda {
namespace {

// expf, not __expf: that one's error grows with |x|. The quotient loses two roundings, and nothing from 1 to infinity.
__device__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + expf(-x)); }

template <class T>
struct Product {
  const T* u;
  const float *gain, *bias;
};

template <class T>
struct Forward {
  Product<T> gate, up;
  T* y;
};

template <class T, int N>
__global__ void swiglu_forward_kernel(Forward<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const Columns<N> gate_columns(op.gate.gain, op.gate.bias, place.column, place.inside);
  const Columns<N> up_columns(op.up.gain, op.up.bias, place.column, place.inside);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    const Floats<N> gate = gate_columns.output(read<N>(op.gate.u + at));
    const Floats<N> up = up_columns.output(read<N>(op.up.u + at));
    Floats<N> y;
#pragma unroll
    for (int k = 0; k < N; ++k) y[k] = formulas::swiglu(gate[k], up[k], sigmoid(gate[k]));
    write(op.y + at, y);
  }
}

template <class T>
struct Backward {
  const T* dy;
  Product<T> gate, up;
  T *dgate, *dup;
  float* parts;  // of h of gate, then of h of up
};

template <class T, int N, bool kWithSums>
__global__ void swiglu_backward_kernel(Backward<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const Columns<N> gate_columns(op.gate.gain, op.gate.bias, place.column, place.inside);
  const Columns<N> up_columns(op.up.gain, op.up.bias, place.column, place.inside);
  Floats<N> gate_sums = all_of<N>(0), up_sums = all_of<N>(0);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    // All is read before anything is written: outputs may be the inputs.
    const Floats<N> gate_u = read<N>(op.gate.u + at), up_u = read<N>(op.up.u + at), dy = read<N>(op.dy + at);
    const Floats<N> gate = gate_columns.output(gate_u), up = up_columns.output(up_u);
    Floats<N> dgate, dup;
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float s = sigmoid(gate[k]);
      dgate[k] = formulas::swiglu_dgate(dy[k], gate[k], up[k], s);
      dup[k] = formulas::swiglu_dup(dy[k], gate[k], s);
    }
    if constexpr (kWithSums) {
      add_products(gate_sums, dgate, gate_u);
      add_products(up_sums, dup, up_u);
    }
    write(op.dgate + at, gate_columns.gradient(dgate));
    write(op.dup + at, up_columns.gradient(dup));
  }
  if constexpr (kWithSums) {
    float* const gate_part = op.parts + std::int64_t{blockIdx.y} * work.width;
    float* const up_part = gate_part + gridDim.y * work.width;
    write_part(place, gate_sums, work, [=](std::int64_t j) { return gate_part + j; });
    write_part(place, up_sums, work, [=](std::int64_t j) { return up_part + j; });
  }
}

template <class T>
Product<T> pointers_of(const LinearProduct& product, const Shape& shape) {
  SHARDORA_CHECK(product.u.shape == shape);
  SHARDORA_CHECK(!product.gain || product.gain.elements() == shape[1]);
  SHARDORA_CHECK(!product.bias || product.bias.elements() == shape[1]);
  return {elements_of<T>(product.u), elements_of<float>(product.gain), elements_of<float>(product.bias)};
}

}  // namespace

void swiglu_forward(Backend& backend, const SwigluForward& op) {
  with_element_type(op.y.dtype, [&](auto type) {
    using T = decltype(type);
    const Forward<T> pointers{.gate = pointers_of<T>(op.gate, op.y.shape),
                              .up = pointers_of<T>(op.up, op.y.shape),
                              .y = elements_of<T>(op.y)};
    const auto& [gate, up, y] = pointers;
    over_columns<T>({.rows = op.y.size(0),
                     .width = op.y.size(1),
                     .pointers = {gate.u, gate.gain, gate.bias, up.u, up.gain, up.bias, y}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      launch(swiglu_forward_kernel<T, count>, grid, column_block(), 0, stream_of(backend), pointers,
                             work);
                    });
  });
}

// Both sums are made even where one is not asked for.
void swiglu_backward(Backend& backend, const SwigluBackward& op) {
  const Shape& shape = op.dy.shape;
  const std::int64_t rows = shape[0], width = shape[1];
  SHARDORA_CHECK(op.dgate.du.shape == shape && op.dup.du.shape == shape && op.dgate.du.data != op.dup.du.data);
  SHARDORA_CHECK((!op.dgate.h || op.dgate.h.elements() == width) && (!op.dup.h || op.dup.h.elements() == width));
  const bool with_sums = op.dgate.h || op.dup.h;
  const RowParts cut = row_parts(rows, 2 * width);
  with_element_type(op.dy.dtype, [&](auto type) {
    using T = decltype(type);
    const Backward<T> pointers{
        .dy = elements_of<T>(op.dy),
        .gate = pointers_of<T>(op.gate, shape),
        .up = pointers_of<T>(op.up, shape),
        .dgate = elements_of<T>(op.dgate.du),
        .dup = elements_of<T>(op.dup.du),
        .parts = with_sums ? cuda_backend(backend).workspace<float>(cut.parts * 2 * width) : nullptr};
    const auto& [dy, gate, up, dgate, dup, parts] = pointers;
    over_columns<T>({.rows = rows,
                     .width = width,
                     .sums = 2,
                     .pointers = {dy, gate.u, gate.gain, gate.bias, up.u, up.gain, up.bias, dgate, dup}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      const auto kernel =
                          with_sums ? swiglu_backward_kernel<T, count, true> : swiglu_backward_kernel<T, count, false>;
                      launch(kernel, grid, column_block(), 0, stream_of(backend), pointers, work);
                    });
    if (op.dgate.h) add_column_parts(backend, parts, cut.parts, width, op.dgate.h.as<float>());
    if (op.dup.h) add_column_parts(backend, parts + cut.parts * width, cut.parts, width, op.dup.h.as<float>());
  });
}

}  // namespace shardora::cuda
