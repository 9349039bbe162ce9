#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/rows.h"

namespace shardora::cuda {
namespace {

struct Rows {
  const std::int32_t* ids;
  std::int64_t first_row, rows, width;
  // The row of token t here, or -1.
  __device__ std::int64_t of(std::int64_t t) const {
    const std::int64_t row = ids[t] - first_row;
    return row >= 0 && row < rows ? row : -1;
  }
};

template <class Table, class Y, int N>
__global__ void embedding_gather_kernel(const Table* table, Rows rows, Y* y, RowWork work) {
  const RowPlace place(work);
  if (place.item >= work.items) return;
  const std::int64_t row = rows.of(place.row), column = place.item * N;
  const Floats<N> values = row < 0 ? all_of<N>(0) : read<N>(table + row * rows.width + column);
  write(y + place.row * rows.width + column, values);
}

struct EarlierOf {
  __device__ static int join(int a, int b) { return a < b ? a : b; }
};

// The tokens of one id are a chain: next[t] is the next one, or tokens at the end; leads[t]: t is the first. A warp for
// each t looks at all others.
__global__ void link_tokens_kernel(const std::int32_t* ids, int tokens, std::int32_t* next, std::int32_t* leads) {
  const int t = static_cast<int>(blockIdx.x), id = ids[t];
  int after = tokens, earliest = t;
  for (int other = static_cast<int>(threadIdx.x); other < tokens; other += kWarp) {
    if (ids[other] != id) continue;
    earliest = EarlierOf::join(earliest, other);
    if (other > t) after = EarlierOf::join(after, other);
  }
  after = warp_reduce<EarlierOf>(after);
  earliest = warp_reduce<EarlierOf>(earliest);
  if (threadIdx.x != 0) return;
  next[t] = after;
  leads[t] = earliest == t ? 1 : 0;
}

// The first token of an id adds up all of them, one after another.
template <class T, int N>
__global__ void embedding_scatter_kernel(const T* dy, Rows rows, std::int64_t tokens, const std::int32_t* next,
                                         const std::int32_t* leads, float* dtable, RowWork work) {
  const RowPlace place(work);
  const std::int64_t row = rows.of(place.row), column = place.item * N;
  if (place.item >= work.items || row < 0 || leads[place.row] == 0) return;
  float* const to = dtable + row * rows.width + column;
  Floats<N> sum = read<N>(to);
  for (std::int64_t t = place.row; t < tokens; t = next[t]) {
    const Floats<N> term = read<N>(dy + t * rows.width + column);
#pragma unroll
    for (int k = 0; k < N; ++k) sum[k] += term[k];
  }
  write(to, sum);
}

}  // namespace

void embedding_gather(Backend& backend, const EmbeddingGather& op) {
  const std::int64_t tokens = op.ids.size(0), width = op.table.size(1);
  SHARDORA_CHECK(op.y.shape == (Shape{tokens, width}));
  const Rows rows{op.ids.as<std::int32_t>(), op.first_row, op.table.size(0), width};
  with_element_type(op.table.dtype, [&](auto table_type) {
    with_element_type(op.y.dtype, [&](auto y_type) {
      using Table = decltype(table_type);
      using Y = decltype(y_type);
      using Narrow = std::conditional_t<sizeof(Table) < sizeof(Y), Table, Y>;
      constexpr int kCount = AlignedVector<Narrow>::kCount;
      const Table* const table = elements_of<Table>(op.table);
      Y* const y = elements_of<Y>(op.y);
      const bool aligned = is_vector_aligned<Narrow>(width, {table, y});
      over_rows(tokens, aligned ? width / kCount : width, [&](dim3 grid, dim3 block, const RowWork& work) {
        launch(aligned ? embedding_gather_kernel<Table, Y, kCount> : embedding_gather_kernel<Table, Y, 1>, grid, block,
               0, stream_of(backend), table, rows, y, work);
      });
    });
  });
}

void embedding_scatter(Backend& backend, const EmbeddingScatter& op) {
  const std::int64_t tokens = op.ids.size(0), width = op.dtable.size(1);
  SHARDORA_CHECK(op.dy.shape == (Shape{tokens, width}));
  const Rows rows{op.ids.as<std::int32_t>(), op.first_row, op.dtable.size(0), width};
  auto* const next = cuda_backend(backend).workspace<std::int32_t>(2 * tokens);
  std::int32_t* const leads = next + tokens;
  launch(link_tokens_kernel, static_cast<unsigned>(tokens), kWarp, 0, stream_of(backend), rows.ids, tokens, next,
         leads);
  with_element_type(op.dy.dtype, [&](auto type) {
    using T = decltype(type);
    const T* const dy = elements_of<T>(op.dy);
    float* const dtable = op.dtable.as<float>();
    const bool aligned = is_vector_aligned<T>(width, {dy, dtable});
    over_rows(tokens, aligned ? width / AlignedVector<T>::kCount : width,
              [&](dim3 grid, dim3 block, const RowWork& work) {
                launch(aligned ? embedding_scatter_kernel<T, AlignedVector<T>::kCount> : embedding_scatter_kernel<T, 1>,
                       grid, block, 0, stream_of(backend), dy, rows, tokens, next, leads, dtable, work);
              });
  });
}

}  // namespace shardora::cuda
