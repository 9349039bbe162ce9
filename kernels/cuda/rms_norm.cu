#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;

// The threads of one row: 16 or 32 lanes of a warp, or a whole block. Every thread of the block asks for the sum, also
// those whose row is beyond the last.
template <int kTeam>
struct RowTeam {
  std::int64_t row;
  int lane;
  __device__ RowTeam()
      : row(std::int64_t{blockIdx.x} * (kThreads / kTeam) + threadIdx.x / kTeam),
        lane(static_cast<int>(threadIdx.x) % kTeam) {}
  __device__ float sum(float value) const {
    if constexpr (kTeam == kThreads) {
      return block_reduce<SumOf>(value);
    } else {
#pragma unroll
      for (int lanes = kTeam / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffU, value, lanes);
      return value;
    }
  }
};

template <class T>
struct Forward {
  const T* x;
  const float* weight;
  T* y;
  float* rstd;
  std::int64_t rows, width;
  float epsilon;
};

template <class T, int N, int kTeam>
__global__ void rms_norm_forward_kernel(Forward<T> op) {
  const RowTeam<kTeam> team;
  const std::int64_t begin = team.row < op.rows ? team.lane * N : op.width;
  const std::int64_t row = team.row * op.width;
  float squares = 0;
  for (std::int64_t j = begin; j < op.width; j += kTeam * N) {
    const Floats<N> x = read<N>(op.x + row + j);
#pragma unroll
    for (int k = 0; k < N; ++k) squares += x[k] * x[k];
  }
  const float rstd = 1.0F / sqrtf(team.sum(squares) / static_cast<float>(op.width) + op.epsilon);
  for (std::int64_t j = begin; j < op.width; j += kTeam * N) {  // this thread's own elements again: y may be x
    Floats<N> y = read<N>(op.x + row + j);
    const Floats<N> weight = read<N>(op.weight + j);
#pragma unroll
    for (int k = 0; k < N; ++k) y[k] = weight[k] * (y[k] * rstd);
    write(op.y + row + j, y);
  }
  if (team.lane == 0 && team.row < op.rows) op.rstd[team.row] = rstd;
}

template <class T>
struct Backward {
  const T *dy, *x;
  const float *weight, *rstd;
  T* dx;
  std::int64_t rows, width;
  bool accumulate;
};

template <class T, int N, int kTeam>
__global__ void rms_norm_backward_kernel(Backward<T> op) {
  const RowTeam<kTeam> team;
  const std::int64_t begin = team.row < op.rows ? team.lane * N : op.width;
  const std::int64_t row = team.row * op.width;
  float dot = 0;
  for (std::int64_t j = begin; j < op.width; j += kTeam * N) {
    const Floats<N> dy = read<N>(op.dy + row + j), x = read<N>(op.x + row + j), weight = read<N>(op.weight + j);
#pragma unroll
    for (int k = 0; k < N; ++k) dot += dy[k] * weight[k] * x[k];
  }
  const float r = team.row < op.rows ? op.rstd[team.row] : 0;
  const float pull = team.sum(dot) / static_cast<float>(op.width) * r * r;
  for (std::int64_t j = begin; j < op.width; j += kTeam * N) {  // this thread's own elements again: dx may be dy
    const Floats<N> dy = read<N>(op.dy + row + j), x = read<N>(op.x + row + j), weight = read<N>(op.weight + j);
    Floats<N> dx = op.accumulate ? read<N>(op.dx + row + j) : all_of<N>(0);
#pragma unroll
    for (int k = 0; k < N; ++k) dx[k] = r * (dy[k] * weight[k] - x[k] * pull) + dx[k];
    write(op.dx + row + j, dx);
  }
}

template <class T, int N>
__global__ void rms_norm_dweight_kernel(Backward<T> op, float* parts, ColumnWork work) {
  const ColumnPlace<N> place(work);
  Floats<N> sums = all_of<N>(0);
  for (std::int64_t t = place.first; t < place.last; t += kRowLanes) {
    const std::int64_t at = t * work.width + place.column;
    Floats<N> x = read<N>(op.x + at);
    const float r = op.rstd[t];
#pragma unroll
    for (int k = 0; k < N; ++k) x[k] *= r;
    add_products(sums, read<N>(op.dy + at), x);
  }
  float* const part = parts + std::int64_t{blockIdx.y} * work.width;
  write_part(place, sums, work, [=](std::int64_t j) { return part + j; });
}

// start(N, kTeam, grid): a row of few vectors does not fill a warp, one of many is read by a block.
template <class T, class Start>
void over_norms(std::int64_t rows, std::int64_t width, std::initializer_list<const void*> pointers,
                const Start& start) {
  const auto start_with = [&](auto count) {
    const auto with_team = [&](auto team) {
      const std::int64_t rows_each = kThreads / team;
      start(count, team, static_cast<unsigned>((rows + rows_each - 1) / rows_each));
    };
    const std::int64_t vectors = width / count;
    if (vectors <= 16) return with_team(std::integral_constant<int, 16>{});
    if (vectors <= 128) return with_team(std::integral_constant<int, kWarp>{});
    with_team(std::integral_constant<int, kThreads>{});
  };
  if (is_vector_aligned<T>(width, pointers)) return start_with(std::integral_constant<int, AlignedVector<T>::kCount>{});
  start_with(std::integral_constant<int, 1>{});
}

template <class T>
void weight_gradient(Backend& backend, const Backward<T>& op, float* dweight) {
  const RowParts cut = row_parts(op.rows, op.width);
  auto* const parts = cuda_backend(backend).workspace<float>(cut.parts * op.width);
  over_columns<T>({.rows = op.rows, .width = op.width, .pointers = {op.dy, op.x}}, [&](auto count, dim3 grid,
                                                                                       const ColumnWork& work) {
    launch(rms_norm_dweight_kernel<T, count>, grid, column_block(), 0, stream_of(backend), op, parts, work);
  });
  add_column_parts(backend, parts, cut.parts, op.width, dweight);
}

}  // namespace

void rms_norm_forward(Backend& backend, const RmsNormForward& op) {
  const std::int64_t rows = op.x.size(0), width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.weight.elements() == width && op.rstd.elements() == rows);
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const Forward<T> pointers{.x = elements_of<T>(op.x),
                              .weight = op.weight.as<float>(),
                              .y = elements_of<T>(op.y),
                              .rstd = op.rstd.as<float>(),
                              .rows = rows,
                              .width = width,
                              .epsilon = op.epsilon};
    over_norms<T>(rows, width, {pointers.x, pointers.weight, pointers.y}, [&](auto count, auto team, unsigned blocks) {
      launch(rms_norm_forward_kernel<T, count, team>, blocks, kThreads, 0, stream_of(backend), pointers);
    });
  });
}

void rms_norm_backward(Backend& backend, const RmsNormBackward& op) {
  const std::int64_t rows = op.x.size(0), width = op.x.size(1);
  SHARDORA_CHECK(op.dy.shape == op.x.shape && op.dx.shape == op.x.shape);
  SHARDORA_CHECK(op.weight.elements() == width && op.rstd.elements() == rows);
  SHARDORA_CHECK(!op.dweight || op.dweight.elements() == width);
  SHARDORA_CHECK(!op.accumulate || op.dx.data != op.dy.data);
  with_element_type(op.x.dtype, [&](auto type) {
    using T = decltype(type);
    const Backward<T> pointers{.dy = elements_of<T>(op.dy),
                               .x = elements_of<T>(op.x),
                               .weight = op.weight.as<float>(),
                               .rstd = op.rstd.as<float>(),
                               .dx = elements_of<T>(op.dx),
                               .rows = rows,
                               .width = width,
                               .accumulate = op.accumulate};
    if (op.dweight) weight_gradient(backend, pointers, op.dweight.as<float>());  // first: dx may overwrite dy
    over_norms<T>(rows, width, {pointers.dy, pointers.x, pointers.weight, pointers.dx},
                  [&](auto count, auto team, unsigned blocks) {
                    launch(rms_norm_backward_kernel<T, count, team>, blocks, kThreads, 0, stream_of(backend), pointers);
                  });
  });
}

}  // namespace shardora::cuda
