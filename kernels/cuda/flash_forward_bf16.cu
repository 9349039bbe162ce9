// o and lse by tiles of queries: keys stream past in tiles, the softmax is kept up to date (online). Values are on
// their way while scores are computed, the next keys while values are summed.
#include "kernels/cuda/flash_kernels.h"
#include "kernels/cuda/flash_mma.h"
#include "kernels/cuda/flash_softmax.h"

namespace shardora::cuda {
namespace {

// Two strips a warp halve what shared memory has to deliver; at head size 256 registers hold one.
template <int kDim>
struct Tiles {
  static constexpr int kStrips = kDim <= 128 ? 2 : 1;
  static constexpr int kQueries = 16 * kStrips * kMmaWarps, kKeys = kDim <= 64 ? 64 : 32;
  static constexpr int kElements = (kQueries + 2 * kKeys) * mma_padded(kDim);
  static_assert(kElements * sizeof(BF16) <= 99 << 10);
  using Scores = WarpTile<kStrips, kKeys / 8>;
};

template <int kDim>
__global__ void __launch_bounds__(kMmaThreads, 1)
    flash_forward_bf16_kernel(FlashShape shape, ForwardTensors<BF16> tensors) {
  using Sizes = Tiles<kDim>;
  constexpr int kKeys = Sizes::kKeys;
  SHARDORA_DYNAMIC_SHARED(BF16, q_tile);
  BF16* const k_tile = q_tile + Sizes::kQueries * mma_padded(kDim);
  BF16* const v_tile = k_tile + kKeys * mma_padded(kDim);
  const Work work = work_of_block<Sizes::kQueries, false>(shape);
  if (work.rows.count() == 0) return;

  const Sequence& sequence = work.sequence;
  const int kv_head = work.head / (shape.heads / shape.kv_heads);
  const auto q = head_rows(tensors.q, sequence.queries, shape.heads, work.head, shape.dim);
  const auto k = head_rows(tensors.k, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  const auto v = head_rows(tensors.v, sequence.keys, shape.kv_heads, kv_head, shape.dim);
  const Range all = columns_of<false>(shape.mask, sequence, work.rows);
  start_tile<Sizes::kQueries, kDim>(shape, q, work.rows, q_tile);
  start_tile<kKeys, kDim>(shape, k, attention::overlap<int>({all.first, all.first + kKeys}, all), k_tile);

  WarpTile<Sizes::kStrips, kDim / 8> o;
  OnlineSoftmax<typename Sizes::Scores> softmax;
  for (int key = all.first; key < all.last; key += kKeys) {
    const Range keys = attention::overlap<int>({key, key + kKeys}, all), next{keys.last, keys.last + kKeys};
    const bool meets = warp_meets<false, Sizes::kStrips>(shape, work, keys);
    typename Sizes::Scores scores;
    cp_async_wait_all();
    __syncthreads();  // keys are there; the values of the last turn have been read
    start_tile<kKeys, kDim>(shape, v, keys, v_tile);
    if (meets) {
      scores.template add_a_bt<kDim>(q_tile, k_tile);
      scale_and_hide(shape, work, keys, scores);
      o.scale_rows(softmax.update(scores));
    }
    cp_async_wait_all();
    __syncthreads();  // values are there; keys have been read
    if (next.first < all.last) start_tile<kKeys, kDim>(shape, k, attention::overlap(next, all), k_tile);
    if (meets) o.template add_product<kDim>(scores, v_tile);
  }
  o.scale_rows(softmax.finish(shape, work, tensors.lse));
  o.store(shape, head_rows(tensors.o, sequence.queries, shape.heads, work.head, shape.dim), work.rows);
}

}  // namespace

void flash_forward(Backend& backend, const FlashShape& shape, const ForwardTensors<BF16>& tensors) {
  with_head_size(shape.dim, [&](auto size) {
    constexpr int kDim = decltype(size)::value;
    launch(flash_forward_bf16_kernel<kDim>,
           blocks_for(tensors.queries, shape.sequences, Tiles<kDim>::kQueries, shape.heads), kMmaThreads,
           Tiles<kDim>::kElements * sizeof(BF16), stream_of(backend), shape, tensors);
  });
}

}  // namespace shardora::cuda
