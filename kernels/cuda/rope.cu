#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"
#include "kernels/formulas.h"

namespace shardora::cuda {
namespace {

// A column of these passes is a pair: pair c of [0, heads * half) turns the columns first(c) and first(c) + half.
struct Turns {
  const std::int32_t* positions;
  const float *cosines, *sines;
  std::int64_t half;

  __device__ std::int64_t first(std::int64_t pair) const { return pair + pair / half * half; }
  __device__ std::int64_t row(std::int64_t t, std::int64_t pair) const { return positions[t] * half + pair % half; }
};

template <int N>
struct Pairs {
  Floats<N> x1, x2;
};

template <int N, class T>
__device__ Pairs<N> read_pairs(const T* from, std::int64_t half) {
  return {read<N>(from), read<N>(from + half)};
}

template <int N>
__device__ void turn(Pairs<N>& x, const Floats<N>& cosine, const Floats<N>& sine, float direction) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const formulas::Pair turned = formulas::rotate({x.x1[k], x.x2[k]}, cosine[k], direction * sine[k]);
    x.x1[k] = turned.x1;
    x.x2[k] = turned.x2;
  }
}

template <class T>
struct Forward {
  const T* u;
  const float *gain, *bias;
  Turns turns;
  T* y;
};

template <class T, int N>
__global__ void rope_forward_kernel(Forward<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const std::int64_t half = op.turns.half, first = op.turns.first(place.column);
  const Columns<N> columns1(op.gain, op.bias, first, place.inside);
  const Columns<N> columns2(op.gain, op.bias, first + half, place.inside);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * 2 * work.width + first, row = op.turns.row(t, place.column);
    Pairs<N> x = read_pairs<N>(op.u + at, half);
    x = {columns1.output(x.x1), columns2.output(x.x2)};
    turn(x, read<N>(op.turns.cosines + row), read<N>(op.turns.sines + row), 1);
    write(op.y + at, x.x1);
    write(op.y + at + half, x.x2);
  }
}

template <class T>
struct Backward {
  const T *dy, *u;
  const float* gain;
  Turns turns;
  T* du;
  float* parts;  // of h
};

template <class T, int N, bool kWithSum>
__global__ void rope_backward_kernel(Backward<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const std::int64_t half = op.turns.half, first = op.turns.first(place.column);
  const Columns<N> columns1(op.gain, nullptr, first, place.inside);
  const Columns<N> columns2(op.gain, nullptr, first + half, place.inside);
  Pairs<N> h{all_of<N>(0), all_of<N>(0)};
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * 2 * work.width + first, row = op.turns.row(t, place.column);
    Pairs<N> gradient = read_pairs<N>(op.dy + at, half);
    turn(gradient, read<N>(op.turns.cosines + row), read<N>(op.turns.sines + row), -1);
    if constexpr (kWithSum) {
      const Pairs<N> u = read_pairs<N>(op.u + at, half);
      add_products(h.x1, gradient.x1, u.x1);
      add_products(h.x2, gradient.x2, u.x2);
    }
    write(op.du + at, columns1.gradient(gradient.x1));
    write(op.du + at + half, columns2.gradient(gradient.x2));
  }
  if constexpr (kWithSum) {
    float* const parts = op.parts + std::int64_t{blockIdx.y} * 2 * work.width;
    const Turns turns = op.turns;
    write_part(place, h.x1, work, [=](std::int64_t pair) { return parts + turns.first(pair); });
    write_part(place, h.x2, work, [=](std::int64_t pair) { return parts + turns.first(pair) + turns.half; });
  }
}

Turns turns_of(const Shape& shape, TensorView positions, const RopeTable& table) {
  const std::int64_t half = shape[2] / 2;
  SHARDORA_CHECK(shape[2] % 2 == 0 && positions.elements() == shape[0]);
  SHARDORA_CHECK(table.cosines.shape == table.sines.shape && table.cosines.size(1) == half);
  return {positions.as<std::int32_t>(), table.cosines.as<float>(), table.sines.as<float>(), half};
}

}  // namespace

void rope_forward(Backend& backend, const RopeForward& op) {
  const Shape& shape = op.y.shape;
  const std::int64_t width = shape[1] * shape[2];
  SHARDORA_CHECK(op.x.u.shape == shape);
  SHARDORA_CHECK((!op.x.gain || op.x.gain.elements() == width) && (!op.x.bias || op.x.bias.elements() == width));
  const Turns turns = turns_of(shape, op.positions, op.table);
  with_element_type(op.y.dtype, [&](auto type) {
    using T = decltype(type);
    const Forward<T> pointers{.u = elements_of<T>(op.x.u),
                              .gain = elements_of<float>(op.x.gain),
                              .bias = elements_of<float>(op.x.bias),
                              .turns = turns,
                              .y = elements_of<T>(op.y)};
    over_columns<T>({.rows = shape[0],
                     .width = width / 2,
                     .period = turns.half,
                     .pointers = {pointers.u, pointers.gain, pointers.bias, pointers.y, turns.cosines, turns.sines}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      launch(rope_forward_kernel<T, count>, grid, column_block(), 0, stream_of(backend), pointers,
                             work);
                    });
  });
}

void rope_backward(Backend& backend, const RopeBackward& op) {
  const Shape& shape = op.dy.shape;
  const std::int64_t width = shape[1] * shape[2];
  SHARDORA_CHECK(op.dx.du.shape == shape && !op.x.gain == !op.dx.h);
  SHARDORA_CHECK(!op.dx.h || (op.x.u.shape == shape && op.dx.h.elements() == width && op.x.gain.elements() == width));
  const Turns turns = turns_of(shape, op.positions, op.table);
  const RowParts cut = row_parts(shape[0], width);
  with_element_type(op.dy.dtype, [&](auto type) {
    using T = decltype(type);
    const Backward<T> pointers{.dy = elements_of<T>(op.dy),
                               .u = op.dx.h ? elements_of<T>(op.x.u) : nullptr,
                               .gain = elements_of<float>(op.x.gain),
                               .turns = turns,
                               .du = elements_of<T>(op.dx.du),
                               .parts = op.dx.h ? cuda_backend(backend).workspace<float>(cut.parts * width) : nullptr};
    over_columns<T>({.rows = shape[0],
                     .width = width / 2,
                     .sums = 2,
                     .period = turns.half,
                     .pointers = {pointers.dy, pointers.u, pointers.gain, pointers.du, turns.cosines, turns.sines}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      const auto kernel =
                          op.dx.h ? rope_backward_kernel<T, count, true> : rope_backward_kernel<T, count, false>;
                      launch(kernel, grid, column_block(), 0, stream_of(backend), pointers, work);
                    });
    if (op.dx.h) add_column_parts(backend, pointers.parts, cut.parts, width, op.dx.h.as<float>());
  });
}

}  // namespace shardora::cuda
