#include "kernels/cuda/flash_kernels.h"
#include "kernels/cuda/flash_mma.h"
#include "kernels/cuda/flash_softmax.h"

namespace shardora::cuda {
namespace {

// The columns' tiles stand twice, where shared memory has room: one is worked on while the next is on its way. At head
// size 256 registers hold the sums of half a key's gradients: two blocks (slices) share the columns of dk and dv.
template <int kDim, bool kOfKeys>
struct Tiles {
  static constexpr int kRows = 16 * kMmaWarps, kColumns = kDim <= 64 ? 64 : kDim <= 128 ? 32 : 16;
  static constexpr int kSlices = kOfKeys && kDim > 128 ? 2 : 1, kWidth = kDim / kSlices;
  static constexpr int kRowElements = kRows * mma_padded(kDim), kColumnElements = kColumns * mma_padded(kDim);
  using Numbers = QueryNumbers<kOfKeys ? kColumns : kRows>;
  static constexpr int kBuffers = kDim <= 128 ? 2 : 1;
  static constexpr std::size_t kElements = 2 * kRowElements + kBuffers * 2 * kColumnElements;  // a, da; b, db
  static constexpr std::size_t kBytes = kElements * sizeof(BF16) + kBuffers * Numbers::kFloats * sizeof(float);
  using Scores = WarpTile<1, kColumns / 8>;
};

// The way of a block through its columns: for each query head of its group tile after tile.
template <int kColumns>
struct Walk {
  Range all;
  int turn = 0;
  int column = all.first;
  __device__ Range columns() const { return attention::overlap<int>({column, column + kColumns}, all); }
  __device__ void advance() {
    column += kColumns;
    if (column < all.last) return;
    column = all.first;
    ++turn;
  }
};

template <int kDim, bool kOfKeys>
__global__ void __launch_bounds__(kMmaThreads, 1)
    flash_backward_bf16_kernel(FlashShape shape, BackwardTensors<BF16> tensors) {
  using Sizes = Tiles<kDim, kOfKeys>;
  constexpr int kRows = Sizes::kRows, kColumns = Sizes::kColumns;
  SHARDORA_DYNAMIC_SHARED(BF16, a_tile);
  BF16* const da_tile = a_tile + Sizes::kRowElements;
  BF16* const column_tiles = da_tile + Sizes::kRowElements;
  auto* const floats = reinterpret_cast<float*>(a_tile + Sizes::kElements);
  const Work work = work_of_block<kRows, kOfKeys>(shape);
  if (work.rows.count() == 0) return;

  const BackwardOperands<kOfKeys, BF16> operands{shape, tensors, work};
  const auto numbers = [&](int which) { return typename Sizes::Numbers{floats + which * Sizes::Numbers::kFloats}; };
  const auto start = [&](const Walk<kColumns>& at, int which) {
    BF16* const b_tile = column_tiles + which * 2 * Sizes::kColumnElements;
    start_tile<kColumns, kDim>(shape, operands.b(at.turn), at.columns(), b_tile);
    start_tile<kColumns, kDim>(shape, operands.db(at.turn), at.columns(), b_tile + Sizes::kColumnElements);
    if (kOfKeys) {
      numbers(which).load(shape, tensors.lse, tensors.delta, work.sequence, operands.head(at.turn), at.columns());
    }
  };
  start_tile<kRows, kDim>(shape, operands.a(), work.rows, a_tile);
  start_tile<kRows, kDim>(shape, operands.da(), work.rows, da_tile);
  if (!kOfKeys) numbers(0).load(shape, tensors.lse, tensors.delta, work.sequence, work.head, work.rows);

  const int first_output = static_cast<int>(blockIdx.y) * Sizes::kWidth;
  WarpTile<1, Sizes::kWidth / 8> out1;
  WarpTile<1, kOfKeys ? Sizes::kWidth / 8 : 2> out2;
  Walk<kColumns> walk{columns_of<kOfKeys>(shape.mask, work.sequence, work.rows)};
  const int turns = walk.all.count() > 0 ? operands.turns() : 0;
  if (turns > 0 && Sizes::kBuffers == 2) start(walk, 0);
  for (int which = 0; walk.turn < turns; which = (which + 1) % Sizes::kBuffers) {
    if (Sizes::kBuffers == 1) {
      __syncthreads();  // the last turn's tiles have been read
      start(walk, 0);
    }
    const Range columns = walk.columns();
    walk.advance();
    cp_async_wait_all();
    __syncthreads();  // this turn's tiles are there; with two buffers, those of the last have been read
    if (Sizes::kBuffers == 2 && walk.turn < turns) start(walk, 1 - which);
    if (!warp_meets<kOfKeys, 1>(shape, work, columns)) continue;
    const BF16* const b_tile = column_tiles + which * 2 * Sizes::kColumnElements;
    const BF16* const db_tile = b_tile + Sizes::kColumnElements;
    typename Sizes::Scores scores, dp;
    scores.template add_a_bt<kDim>(a_tile, b_tile);
    dp.template add_a_bt<kDim>(da_tile, db_tile);
    softmax_backward<kOfKeys>(shape, work, columns, numbers(kOfKeys ? which : 0), scores, dp);
    out1.template add_product<kDim>(dp, b_tile, first_output);
    if constexpr (kOfKeys) out2.template add_product<kDim>(scores, db_tile, first_output);
  }
  out1.store(shape, operands.out1(), work.rows, first_output);
  if constexpr (kOfKeys) out2.store(shape, operands.out2(), work.rows, first_output);
}

template <int kDim, bool kOfKeys>
void run(Backend& backend, const FlashShape& shape, const BackwardTensors<BF16>& tensors) {
  using Sizes = Tiles<kDim, kOfKeys>;
  static_assert(Sizes::kBytes <= 99 << 10);
  const unsigned blocks = blocks_for(kOfKeys ? tensors.keys : tensors.queries, shape.sequences, Sizes::kRows,
                                     kOfKeys ? shape.kv_heads : shape.heads);
  launch(flash_backward_bf16_kernel<kDim, kOfKeys>, dim3(blocks, Sizes::kSlices), kMmaThreads, Sizes::kBytes,
         stream_of(backend), shape, tensors);
}

}  // namespace

void flash_backward(Backend& backend, const FlashShape& shape, const BackwardTensors<BF16>& tensors) {
  with_head_size(shape.dim, [&](auto size) {
    run<decltype(size)::value, false>(backend, shape, tensors);
    run<decltype(size)::value, true>(backend, shape, tensors);
  });
}

}  // namespace shardora::cuda
