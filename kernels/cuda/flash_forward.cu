// o and lse by tiles of queries: keys stream past in tiles, the softmax is kept up to date (online).
#include "kernels/cuda/block.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/flash_attention.h"
#include "kernels/cuda/flash_simt.h"

namespace shardora::cuda {
namespace {

template <class T>
struct ForwardTensors {
  const T *q, *k, *v;
  T* o;
  float* lse;
};

// A thread's share of the sizes: patches of 16 x 16, so that 99 KiB of shared memory hold all tiles.
template <int kDim>
struct ForwardTiles {
  static constexpr int kRows = kDim <= 128 ? 4 : 2, kColumns = kDim <= 128 ? 4 : 2;
  static constexpr int kQueries = kSide * kRows, kKeys = kSide * kColumns;
  static constexpr int kFloats = (kQueries + kKeys) * padded(kDim) + kQueries * padded(kKeys);
};

// The softmax of kRows queries on their way through the keys. `sum` is the thread's own part until finish().
template <int kRows>
struct OnlineSoftmax {
  Registers<float, kRows> max, sum;

  __device__ OnlineSoftmax() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      max[i] = -INFINITY;
      sum[i] = 0;
    }
  }
  // Scores become exp(score - max); shrink: what sums under the older maximum are to be multiplied by.
  template <int kColumns>
  __device__ void update(Patch<kRows, kColumns>& scores, Registers<float, kRows>& shrink) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      float most = max[i];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) most = MaxOf::join(scores[i][j], most);
#pragma unroll
      for (int lanes = kSide / 2; lanes > 0; lanes /= 2) {
        most = MaxOf::join(__shfl_xor_sync(0xffffffffU, most, lanes), most);
      }
      const float shift = most == -INFINITY ? 0.0F : most;  // no key seen yet: -inf - -inf is not a number
      shrink[i] = expf(max[i] - shift);
      max[i] = most;
      sum[i] *= shrink[i];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        scores[i][j] = expf(scores[i][j] - shift);
        sum[i] += scores[i][j];
      }
    }
  }
  __device__ void finish() {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int lanes = kSide / 2; lanes > 0; lanes /= 2) sum[i] += __shfl_xor_sync(0xffffffffU, sum[i], lanes);
    }
  }
};

template <int kRows, int kColumns>
__device__ void scale_and_hide(const FlashShape& shape, const Work& work, std::int64_t first_key,
                               Patch<kRows, kColumns>& scores) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const std::int64_t query = work.rows.first + thread_y() + kSide * i;
    const Columns seen = columns_of_row<false>(shape.mask, work.sequence, query, first_key, kSide * kColumns);
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      scores[i][j] = seen.has(thread_x() + kSide * j) ? shape.scale * scores[i][j] : -INFINITY;
    }
  }
}

template <class T, int kDim>
__global__ void __launch_bounds__(kFlashThreads) flash_forward_kernel(FlashShape shape, ForwardTensors<T> tensors) {
  using Tiles = ForwardTiles<kDim>;
  SHARDORA_DYNAMIC_SHARED(float, q_tile);
  float* const key_tile = q_tile + Tiles::kQueries * padded(kDim);  // keys, then values
  float* const p_tile = key_tile + Tiles::kKeys * padded(kDim);
  const Work work = work_of_block<Tiles::kQueries, false>(shape);
  if (work.rows.count() == 0) return;

  const Sequence& sequence = work.sequence;
  const int kv_head = work.head / (shape.heads / shape.kv_heads);
  const auto q = head_rows(tensors.q, sequence.queries, shape.heads, work.head, shape.dim);
  const auto k = head_rows(tensors.k, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  const auto v = head_rows(tensors.v, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  load_tile<Tiles::kQueries, kDim>(shape, q, work.rows.first, work.rows.last, q_tile);

  WideSums<Tiles::kRows, kDim> o;
  OnlineSoftmax<Tiles::kRows> softmax;
  const Range keys = columns_of<false>(shape.mask, sequence, work.rows);
  for (std::int64_t key = keys.first; key < keys.last; key += Tiles::kKeys) {
    __syncthreads();  // the values of the last turn have been read
    load_tile<Tiles::kKeys, kDim>(shape, k, key, keys.last, key_tile);
    __syncthreads();
    Patch<Tiles::kRows, Tiles::kColumns> scores{};
    add_a_bt<Tiles::kRows, Tiles::kColumns, kDim>(q_tile, key_tile, scores);
    __syncthreads();
    load_tile<Tiles::kKeys, kDim>(shape, v, key, keys.last, key_tile);
    scale_and_hide(shape, work, key, scores);
    Registers<float, Tiles::kRows> shrink;
    softmax.update(scores, shrink);
    store_shared(scores, p_tile);
    __syncthreads();
    o.scale_rows(shrink);
    o.template add_product<Tiles::kKeys>(p_tile, key_tile);
  }

  softmax.finish();
  Registers<float, Tiles::kRows> shares;
#pragma unroll
  for (int i = 0; i < Tiles::kRows; ++i) {
    shares[i] = 1.0F / softmax.sum[i];
    const std::int64_t row = work.rows.first + thread_y() + kSide * i;
    if (thread_x() == 0 && row < work.rows.last) {
      tensors.lse[(sequence.queries.first + row) * shape.heads + work.head] = softmax.max[i] + logf(softmax.sum[i]);
    }
  }
  o.scale_rows(shares);
  o.store(head_rows(tensors.o, sequence.queries, shape.heads, work.head, shape.dim), work.rows.first, work.rows.count(),
          shape.dim);
}

}  // namespace

FlashShape flash_shape(const AttentionForward& op) {
  const std::int64_t heads = op.q.size(1), kv_heads = op.k.size(1), dim = op.q.size(2);
  SHARDORA_CHECK(kv_heads >= 1 && heads % kv_heads == 0 && dim >= 1 && dim == op.k.size(2));
  SHARDORA_CHECK(dim <= kMostHeadSize);
  SHARDORA_CHECK(op.k.shape == op.v.shape && op.o.shape == op.q.shape);
  SHARDORA_CHECK(op.lse.shape == (Shape{op.q.size(0), heads}));
  SHARDORA_CHECK(op.query_offsets.shape == op.key_offsets.shape && op.query_offsets.size(0) >= 1);
  SHARDORA_CHECK(op.mask.kind != MaskKind::kWindow || op.mask.window >= 1);
  // Where a mask looks back, each query stands at a key of its own.
  SHARDORA_CHECK(op.mask.kind == MaskKind::kFull || op.k.size(0) >= op.q.size(0));
  return {.query_offsets = op.query_offsets.as<std::int32_t>(),
          .key_offsets = op.key_offsets.as<std::int32_t>(),
          .sequences = static_cast<int>(op.query_offsets.size(0) - 1),
          .heads = static_cast<int>(heads),
          .kv_heads = static_cast<int>(kv_heads),
          .dim = static_cast<int>(dim),
          .packs = false,
          .scale = op.scale,
          .mask = op.mask};
}

void own_attention_forward(Backend& backend, const AttentionForward& op) {
  FlashShape shape = flash_shape(op);
  with_element_type(op.q.dtype, [&](auto type) {
    using T = decltype(type);
    const ForwardTensors<T> tensors{elements_of<T>(op.q), elements_of<T>(op.k), elements_of<T>(op.v),
                                    elements_of<T>(op.o), op.lse.as<float>()};
    shape.packs = packs_fit<T>(shape.dim, {tensors.q, tensors.k, tensors.v});
    with_head_size(shape.dim, [&](auto size) {
      constexpr int kDim = decltype(size)::value;
      using Tiles = ForwardTiles<kDim>;
      const std::int64_t tiles = tiles_at_most(op.q.size(0), shape.sequences, Tiles::kQueries);
      launch(flash_forward_kernel<T, kDim>, static_cast<unsigned>(tiles * shape.heads), kFlashThreads,
             Tiles::kFloats * sizeof(float), stream_of(backend), shape, tensors);
    });
  });
}

}  // namespace shardora::cuda
