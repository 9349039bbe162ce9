// The gradients in two passes over the pairs of queries and keys, each with one writer for every output: dq by tiles of
// queries, dk and dv by tiles of keys. Both are one kernel: with rows i (what the block owns) and columns j,
//
//   s_ij = a_i . b_j,  dp_ij = da_i . db_j          rows queries: a = q, da = do, b = k, db = v
//   out1_i = sum_j ds_ij b_j  (dq, or dk)           rows keys:    a = k, da = v,  b = q, db = do
//   out2_i = sum_j p_ij db_j  (dv; rows keys only)
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/flash_attention.h"
#include "kernels/cuda/flash_simt.h"

namespace shardora::cuda {
namespace {

template <class T>
struct BackwardTensors {
  const T *q, *k, *v, *d_o;
  const float *lse, *delta;  // [query_tokens, heads]
  T *dq, *dk, *dv;
};

template <int kDim>
struct BackwardTiles {
  static constexpr int kRowPatches = kDim <= 128 ? 4 : 2, kColumnPatches = kDim <= 64 ? 4 : kDim <= 128 ? 2 : 1;
  static constexpr int kRows = kSide * kRowPatches, kColumns = kSide * kColumnPatches;
  static constexpr int kFloats = (2 * kRows + kColumns) * padded(kDim) + kRows * padded(kColumns);
};

// delta = rowsum(do * o): one warp a row of [tokens * heads, dim].
template <class T>
__global__ void flash_delta_kernel(const T* o, const T* d_o, std::int64_t rows, int dim, float* delta) {
  const std::int64_t row = (std::int64_t{blockIdx.x} * kFlashThreads + threadIdx.x) / kWarp;
  if (row >= rows) return;
  float sum = 0;
  for (int d = static_cast<int>(threadIdx.x) % kWarp; d < dim; d += kWarp) {
    sum += to_float(o[row * dim + d]) * to_float(d_o[row * dim + d]);
  }
  sum = warp_reduce<SumOf>(sum);
  if (threadIdx.x % kWarp == 0) delta[row] = sum;
}

// lse and delta of the thread's own queries: those of its rows, or of its columns.
template <int kCount>
struct QueryNumbers {
  Registers<float, kCount> lse, delta;
  template <class T>
  __device__ QueryNumbers(const FlashShape& shape, const BackwardTensors<T>& tensors, Range queries, int head,
                          std::int64_t first) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const std::int64_t query = first + kSide * i;
      const bool inside = query < queries.count();
      const std::int64_t at = (queries.first + query) * shape.heads + head;
      lse[i] = inside ? tensors.lse[at] : 0.0F;
      delta[i] = inside ? tensors.delta[at] : 0.0F;
    }
  }
};

// scores -> p = exp(scale * score - lse), and dp -> ds = p (dp - delta) scale; both 0 where row and column do not meet.
template <bool kOfKeys, int kRows, int kColumns, class Numbers>
__device__ void softmax_backward(const FlashShape& shape, const Work& work, std::int64_t first_column,
                                 const Numbers& numbers, Patch<kRows, kColumns>& scores, Patch<kRows, kColumns>& dp) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const std::int64_t row = work.rows.first + thread_y() + kSide * i;
    const Columns seen = columns_of_row<kOfKeys>(shape.mask, work.sequence, row, first_column, kSide * kColumns);
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int n = kOfKeys ? j : i;
      const bool meets = seen.has(thread_x() + kSide * j);
      const float p = meets ? expf(shape.scale * scores[i][j] - numbers.lse[n]) : 0.0F;
      scores[i][j] = p;
      dp[i][j] = meets ? p * (dp[i][j] - numbers.delta[n]) * shape.scale : 0.0F;
    }
  }
}

template <class T, int kDim, bool kOfKeys>
__global__ void __launch_bounds__(kFlashThreads) flash_backward_kernel(FlashShape shape, BackwardTensors<T> tensors) {
  using Tiles = BackwardTiles<kDim>;
  constexpr int kRows = Tiles::kRows, kColumns = Tiles::kColumns;
  SHARDORA_DYNAMIC_SHARED(float, a_tile);
  float* const da_tile = a_tile + kRows * padded(kDim);
  float* const column_tile = da_tile + kRows * padded(kDim);
  float* const p_tile = column_tile + kColumns * padded(kDim);
  const Work work = work_of_block<kRows, kOfKeys>(shape);
  if (work.rows.count() == 0) return;

  const Sequence& sequence = work.sequence;
  const int group = shape.heads / shape.kv_heads, kv_head = kOfKeys ? work.head : work.head / group;
  const auto of_queries = [&](auto* tensor, int head) {
    return head_rows(tensor, sequence.queries, shape.heads, head, shape.dim);
  };
  const auto of_keys = [&](auto* tensor) {
    return head_rows(tensor, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  };
  const Range rows = work.rows;
  load_tile<kRows, kDim>(shape, kOfKeys ? of_keys(tensors.k) : of_queries(tensors.q, work.head), rows.first, rows.last,
                         a_tile);
  load_tile<kRows, kDim>(shape, kOfKeys ? of_keys(tensors.v) : of_queries(tensors.d_o, work.head), rows.first,
                         rows.last, da_tile);

  WideSums<Tiles::kRowPatches, kDim> out1;
  WideSums<kOfKeys ? Tiles::kRowPatches : 1, kDim> out2;
  const Range columns = columns_of<kOfKeys>(shape.mask, sequence, rows);
  for (int h = 0; h < (kOfKeys ? group : 1); ++h) {
    const int head = kOfKeys ? kv_head * group + h : work.head;
    const auto b = kOfKeys ? of_queries(tensors.q, head) : of_keys(tensors.k);
    const auto db = kOfKeys ? of_queries(tensors.d_o, head) : of_keys(tensors.v);
    for (std::int64_t column = columns.first; column < columns.last; column += kColumns) {
      Patch<Tiles::kRowPatches, Tiles::kColumnPatches> scores{}, dp{};
      __syncthreads();  // the last turn has read its tiles
      load_tile<kColumns, kDim>(shape, db, column, columns.last, column_tile);
      __syncthreads();
      add_a_bt<Tiles::kRowPatches, Tiles::kColumnPatches, kDim>(da_tile, column_tile, dp);
      __syncthreads();
      load_tile<kColumns, kDim>(shape, b, column, columns.last, column_tile);
      __syncthreads();
      add_a_bt<Tiles::kRowPatches, Tiles::kColumnPatches, kDim>(a_tile, column_tile, scores);
      const QueryNumbers<kOfKeys ? Tiles::kColumnPatches : Tiles::kRowPatches> numbers(
          shape, tensors, sequence.queries, head, kOfKeys ? column + thread_x() : rows.first + thread_y());
      softmax_backward<kOfKeys>(shape, work, column, numbers, scores, dp);
      store_shared(dp, p_tile);
      __syncthreads();
      out1.template add_product<kColumns>(p_tile, column_tile);
      if constexpr (kOfKeys) {
        __syncthreads();
        load_tile<kColumns, kDim>(shape, db, column, columns.last, column_tile);
        store_shared(scores, p_tile);
        __syncthreads();
        out2.template add_product<kColumns>(p_tile, column_tile);
      }
    }
  }
  if constexpr (kOfKeys) {
    out1.store(of_keys(tensors.dk), rows.first, rows.count(), shape.dim);
    out2.store(of_keys(tensors.dv), rows.first, rows.count(), shape.dim);
  } else {
    out1.store(of_queries(tensors.dq, work.head), rows.first, rows.count(), shape.dim);
  }
}

template <class T>
void run(Backend& backend, const FlashShape& shape, std::int64_t queries, std::int64_t keys,
         const BackwardTensors<T>& tensors) {
  with_head_size(shape.dim, [&](auto size) {
    constexpr int kDim = decltype(size)::value;
    using Tiles = BackwardTiles<kDim>;
    constexpr std::size_t kBytes = Tiles::kFloats * sizeof(float);
    static_assert(kBytes <= 99 << 10);
    const auto blocks = [&](std::int64_t tokens, int heads) {
      return static_cast<unsigned>(tiles_at_most(tokens, shape.sequences, Tiles::kRows) * heads);
    };
    launch(flash_backward_kernel<T, kDim, false>, blocks(queries, shape.heads), kFlashThreads, kBytes,
           stream_of(backend), shape, tensors);
    launch(flash_backward_kernel<T, kDim, true>, blocks(keys, shape.kv_heads), kFlashThreads, kBytes,
           stream_of(backend), shape, tensors);
  });
}

}  // namespace

void own_attention_backward(Backend& backend, const AttentionBackward& op) {
  const AttentionForward& forward = op.forward;
  FlashShape shape = flash_shape(forward);
  SHARDORA_CHECK(op.d_o.shape == forward.q.shape && op.dq.shape == forward.q.shape);
  SHARDORA_CHECK(op.dk.shape == forward.k.shape && op.dv.shape == forward.k.shape);
  const std::int64_t rows = forward.q.size(0) * shape.heads;
  auto* const delta = cuda_backend(backend).workspace<float>(rows);
  with_element_type(forward.q.dtype, [&](auto type) {
    using T = decltype(type);
    const BackwardTensors<T> tensors{elements_of<T>(forward.q), elements_of<T>(forward.k), elements_of<T>(forward.v),
                                     elements_of<T>(op.d_o),    forward.lse.as<float>(),   delta,
                                     elements_of<T>(op.dq),     elements_of<T>(op.dk),     elements_of<T>(op.dv)};
    shape.packs = packs_fit<T>(shape.dim, {tensors.q, tensors.k, tensors.v, tensors.d_o});
    launch(flash_delta_kernel<T>, static_cast<unsigned>((rows * kWarp + kFlashThreads - 1) / kFlashThreads),
           kFlashThreads, 0, stream_of(backend), elements_of<T>(forward.o), tensors.d_o, rows, shape.dim, delta);
    run(backend, shape, forward.q.size(0), forward.k.size(0), tensors);
  });
}

}  // namespace shardora::cuda
