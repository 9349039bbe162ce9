#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/rows.h"
#include "kernels/philox.h"

namespace shardora::cuda {
namespace {

template <class T>
struct Masking {
  const T* x;
  T* y;
  const std::int64_t* sequence_indices;
  const std::int32_t* positions;
  std::int64_t width, first_feature;
  std::uint64_t key;
  std::uint32_t threshold;
  float keep_scale;
  bool accumulate;
};

// A counter gives the words of four features, from a multiple of four on.
template <class T>
__device__ philox::Words words_of(const Masking<T>& op, std::int64_t t, std::int64_t feature) {
  const auto sequence = static_cast<std::uint64_t>(op.sequence_indices[t]);
  return philox::random_words({philox::low_half(sequence), philox::high_half(sequence),
                               static_cast<std::uint32_t>(op.positions[t]), static_cast<std::uint32_t>(feature / 4)},
                              op.key);
}
__device__ std::uint32_t word(const philox::Words& words, std::int64_t number) {
  return number == 0 ? words.w0 : number == 1 ? words.w1 : number == 2 ? words.w2 : words.w3;
}

template <class T, int N>
__global__ void dropout_kernel(Masking<T> op, RowWork work) {
  const RowPlace place(work);
  if (place.item >= work.items) return;
  const std::int64_t column = place.item * N, at = place.row * op.width + column;
  const std::int64_t feature = op.first_feature + column;
  Floats<N> y = read<N>(op.x + at);
  philox::Words words{};
#pragma unroll
  for (int k = 0; k < N; ++k) {
    if (k % 4 == 0) words = words_of(op, place.row, feature + k);
    const float scale = word(words, N == 1 ? feature % 4 : k % 4) < op.threshold ? 0.0F : op.keep_scale;
    y[k] = scale * y[k];
  }
  if (op.accumulate) {
    const Floats<N> before = read<N>(op.y + at);
#pragma unroll
    for (int k = 0; k < N; ++k) y[k] += before[k];
  }
  write(op.y + at, y);
}

template <class T>
struct Joining {
  const T *base, *p, *e;
  const float* gain;
  T *y, *u;
};

template <class T, int N>
__global__ void dropout_gain_forward_kernel(Joining<T> op, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const Columns<N> columns(op.gain, nullptr, place.column, place.inside);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    Floats<N> y = read<N>(op.base + at), u = read<N>(op.p + at);
    const Floats<N> e = read<N>(op.e + at);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      y[k] += (columns.gain[k] - 1.0F) * u[k] + columns.gain[k] * e[k];
      u[k] += e[k];
    }
    write(op.y + at, y);
    write(op.u + at, u);
  }
}

template <class T, int N>
__global__ void gain_minus_one_kernel(const T* x, const float* gain, T* y, ColumnWork work) {
  const ColumnPlace<N> place(work);
  const Columns<N> columns(gain, nullptr, place.column, place.inside);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    Floats<N> scaled = read<N>(x + at);
#pragma unroll
    for (int k = 0; k < N; ++k) scaled[k] = (columns.gain[k] - 1.0F) * scaled[k];
    write(y + at, scaled);
  }
}

}  // namespace

void dropout(Backend& backend, const Dropout& op) {
  const std::int64_t tokens = op.x.size(0), width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.sequence_indices.elements() == tokens &&
                 op.positions.elements() == tokens);
  SHARDORA_CHECK(op.probability >= 0 && op.probability < 1 && op.first_feature >= 0);
  SHARDORA_CHECK(!op.accumulate || op.y.data != op.x.data);
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const Masking<T> masking{.x = elements_of<T>(op.x),
                             .y = elements_of<T>(op.y),
                             .sequence_indices = op.sequence_indices.as<std::int64_t>(),
                             .positions = op.positions.as<std::int32_t>(),
                             .width = width,
                             .first_feature = op.first_feature,
                             .key = op.key.value,
                             .threshold = philox::drop_threshold(op.probability),
                             .keep_scale = 1.0F / (1.0F - op.probability),
                             .accumulate = op.accumulate};
    const bool aligned = is_vector_aligned<T>(width, {masking.x, masking.y}) && op.first_feature % 4 == 0;
    over_rows(tokens, aligned ? width / AlignedVector<T>::kCount : width,
              [&](dim3 grid, dim3 block, const RowWork& work) {
                launch(aligned ? dropout_kernel<T, AlignedVector<T>::kCount> : dropout_kernel<T, 1>, grid, block, 0,
                       stream_of(backend), masking, work);
              });
  });
}

void dropout_gain_forward(Backend& backend, const DropoutGainForward& op) {
  const Shape& shape = op.base.shape;
  SHARDORA_CHECK(op.p.shape == shape && op.e.shape == shape && op.gain.elements() == shape[1]);
  SHARDORA_CHECK(op.y.shape == shape && op.u.shape == shape && op.y.data != op.u.data);
  with_element_type(op.base.dtype, [&](auto type) {
    using T = decltype(type);
    const Joining<T> joining{.base = elements_of<T>(op.base),
                             .p = elements_of<T>(op.p),
                             .e = elements_of<T>(op.e),
                             .gain = op.gain.as<float>(),
                             .y = elements_of<T>(op.y),
                             .u = elements_of<T>(op.u)};
    over_columns<T>({.rows = shape[0],
                     .width = shape[1],
                     .pointers = {joining.base, joining.p, joining.e, joining.gain, joining.y, joining.u}},
                    [&](auto count, dim3 grid, const ColumnWork& work) {
                      launch(dropout_gain_forward_kernel<T, count>, grid, column_block(), 0, stream_of(backend),
                             joining, work);
                    });
  });
}

void gain_minus_one(Backend& backend, const GainMinusOne& op) {
  const Shape& shape = op.x.shape;
  SHARDORA_CHECK(op.y.shape == shape && op.gain.elements() == shape[1]);
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const T* const x = elements_of<T>(op.x);
    T* const y = elements_of<T>(op.y);
    const float* const gain = op.gain.as<float>();
    over_columns<T>({.rows = shape[0], .width = shape[1], .pointers = {x, gain, y}}, [&](auto count, dim3 grid,
                                                                                         const ColumnWork& work) {
      launch(gain_minus_one_kernel<T, count>, grid, column_block(), 0, stream_of(backend), x, gain, y, work);
    });
  });
}

}  // namespace shardora::cuda
