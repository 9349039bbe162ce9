// o and lse by tiles of queries: keys stream past in tiles, the softmax is kept up to date (online).
#include "kernels/cuda/flash_kernels.h"
#include "kernels/cuda/flash_simt.h"
#include "kernels/cuda/flash_softmax.h"

namespace shardora::cuda {
namespace {

// A thread's share of the sizes: patches of 16 x 16, so that 99 KiB of shared memory hold all tiles.
template <int kDim>
struct Tiles {
  static constexpr int kPatches = kDim <= 128 ? 4 : 2;
  static constexpr int kQueries = kSide * kPatches, kKeys = kSide * kPatches;
  static constexpr int kFloats = (kQueries + kKeys) * padded(kDim) + kQueries * padded(kKeys);
  static_assert(kFloats * sizeof(float) <= 99 << 10);
  using Scores = Patch<kPatches, kPatches>;
};

template <int kDim>
__global__ void __launch_bounds__(kFlashThreads, 1)
    flash_forward_fp32_kernel(FlashShape shape, ForwardTensors<float> tensors) {
  using Sizes = Tiles<kDim>;
  SHARDORA_DYNAMIC_SHARED(float, q_tile);
  float* const key_tile = q_tile + Sizes::kQueries * padded(kDim);  // keys, then values
  float* const p_tile = key_tile + Sizes::kKeys * padded(kDim);
  const Work work = work_of_block<Sizes::kQueries, false>(shape);
  if (work.rows.count() == 0) return;

  const Sequence& sequence = work.sequence;
  const int kv_head = work.head / (shape.heads / shape.kv_heads);
  const auto q = head_rows(tensors.q, sequence.queries, shape.heads, work.head, shape.dim);
  const auto k = head_rows(tensors.k, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  const auto v = head_rows(tensors.v, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  load_tile<Sizes::kQueries, kDim>(shape, q, work.rows, q_tile);

  WideSums<Sizes::kPatches, kDim> o;
  OnlineSoftmax<typename Sizes::Scores> softmax;
  const Range all = columns_of<false>(shape.mask, sequence, work.rows);
  for (int key = all.first; key < all.last; key += Sizes::kKeys) {
    const Range keys = attention::overlap<int>({key, key + Sizes::kKeys}, all);
    __syncthreads();  // the values of the last turn have been read
    load_tile<Sizes::kKeys, kDim>(shape, k, keys, key_tile);
    __syncthreads();
    typename Sizes::Scores scores;
    scores.template add_a_bt<kDim>(q_tile, key_tile);
    __syncthreads();
    load_tile<Sizes::kKeys, kDim>(shape, v, keys, key_tile);
    scale_and_hide(shape, work, keys, scores);
    o.scale_rows(softmax.update(scores));
    scores.store(p_tile);
    __syncthreads();
    o.template add_product<Sizes::kKeys>(p_tile, key_tile);
  }
  o.scale_rows(softmax.finish(shape, work, tensors.lse));
  o.store(head_rows(tensors.o, sequence.queries, shape.heads, work.head, shape.dim), work.rows, shape.dim);
}

}  // namespace

void flash_forward(Backend& backend, const FlashShape& shape, const ForwardTensors<float>& tensors) {
  with_head_size(shape.dim, [&](auto size) {
    constexpr int kDim = decltype(size)::value;
    launch(flash_forward_fp32_kernel<kDim>,
           blocks_for(tensors.queries, shape.sequences, Tiles<kDim>::kQueries, shape.heads), kFlashThreads,
           Tiles<kDim>::kFloats * sizeof(float), stream_of(backend), shape, tensors);
  });
}

}  // namespace shardora::cuda
