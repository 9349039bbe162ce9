#include "kernels/cuda/flash_kernels.h"
#include "kernels/cuda/flash_simt.h"
#include "kernels/cuda/flash_softmax.h"

namespace shardora::cuda {
namespace {

// A thread's share of the sizes, so that 99 KiB of shared memory hold a, da, the columns' tile, p and the numbers.
template <int kDim>
struct Tiles {
  static constexpr int kRowPatches = kDim <= 128 ? 4 : 2, kColumnPatches = kDim <= 64 ? 4 : kDim <= 128 ? 2 : 1;
  static constexpr int kRows = kSide * kRowPatches, kColumns = kSide * kColumnPatches;
  static constexpr int kTileFloats = (2 * kRows + kColumns) * padded(kDim) + kRows * padded(kColumns);
  static constexpr int kFloats = kTileFloats + QueryNumbers<kRows>::kFloats;
  static_assert(kFloats * sizeof(float) <= 99 << 10 && kColumns <= kRows);
  using Scores = Patch<kRowPatches, kColumnPatches>;
};

template <int kDim, bool kOfKeys>
__global__ void __launch_bounds__(kFlashThreads, 1)
    flash_backward_fp32_kernel(FlashShape shape, BackwardTensors<float> tensors) {
  using Sizes = Tiles<kDim>;
  constexpr int kRows = Sizes::kRows, kColumns = Sizes::kColumns;
  SHARDORA_DYNAMIC_SHARED(float, a_tile);
  float* const da_tile = a_tile + kRows * padded(kDim);
  float* const column_tile = da_tile + kRows * padded(kDim);
  float* const p_tile = column_tile + kColumns * padded(kDim);
  const QueryNumbers<kOfKeys ? kColumns : kRows> numbers{a_tile + Sizes::kTileFloats};
  const Work work = work_of_block<kRows, kOfKeys>(shape);
  if (work.rows.count() == 0) return;

  const BackwardOperands<kOfKeys, float> operands{shape, tensors, work};
  load_tile<kRows, kDim>(shape, operands.a(), work.rows, a_tile);
  load_tile<kRows, kDim>(shape, operands.da(), work.rows, da_tile);
  if (!kOfKeys) numbers.load(shape, tensors.lse, tensors.delta, work.sequence, work.head, work.rows);

  WideSums<Sizes::kRowPatches, kDim> out1;
  WideSums<kOfKeys ? Sizes::kRowPatches : 1, kDim> out2;
  const Range all = columns_of<kOfKeys>(shape.mask, work.sequence, work.rows);
  for (int turn = 0; turn < operands.turns(); ++turn) {
    for (int column = all.first; column < all.last; column += kColumns) {
      const Range columns = attention::overlap<int>({column, column + kColumns}, all);
      typename Sizes::Scores scores, dp;
      __syncthreads();  // the last turn has read its tiles
      load_tile<kColumns, kDim>(shape, operands.db(turn), columns, column_tile);
      if (kOfKeys) numbers.load(shape, tensors.lse, tensors.delta, work.sequence, operands.head(turn), columns);
      __syncthreads();
      dp.template add_a_bt<kDim>(da_tile, column_tile);
      __syncthreads();
      load_tile<kColumns, kDim>(shape, operands.b(turn), columns, column_tile);
      __syncthreads();
      scores.template add_a_bt<kDim>(a_tile, column_tile);
      softmax_backward<kOfKeys>(shape, work, columns, numbers, scores, dp);
      dp.store(p_tile);
      __syncthreads();
      out1.template add_product<kColumns>(p_tile, column_tile);
      if constexpr (kOfKeys) {
        __syncthreads();
        load_tile<kColumns, kDim>(shape, operands.db(turn), columns, column_tile);
        scores.store(p_tile);
        __syncthreads();
        out2.template add_product<kColumns>(p_tile, column_tile);
      }
    }
  }
  out1.store(operands.out1(), work.rows, shape.dim);
  if constexpr (kOfKeys) out2.store(operands.out2(), work.rows, shape.dim);
}

template <int kDim, bool kOfKeys>
void run(Backend& backend, const FlashShape& shape, const BackwardTensors<float>& tensors) {
  const unsigned blocks = blocks_for(kOfKeys ? tensors.keys : tensors.queries, shape.sequences, Tiles<kDim>::kRows,
                                     kOfKeys ? shape.kv_heads : shape.heads);
  launch(flash_backward_fp32_kernel<kDim, kOfKeys>, blocks, kFlashThreads, Tiles<kDim>::kFloats * sizeof(float),
         stream_of(backend), shape, tensors);
}

}  // namespace

void flash_backward(Backend& backend, const FlashShape& shape, const BackwardTensors<float>& tensors) {
  with_head_size(shape.dim, [&](auto size) {
    run<decltype(size)::value, false>(backend, shape, tensors);
    run<decltype(size)::value, true>(backend, shape, tensors);
  });
}

}  // namespace shardora::cuda
