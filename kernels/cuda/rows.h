// Passes over [rows, items] in which nothing is shared between rows: a block takes neighbouring items of one row, a
// thread one of them.
#pragma once

#include <algorithm>

#include "kernels/cuda/block.h"
#include "kernels/cuda/elements.h"

namespace shardora::cuda {

struct RowWork {
  std::int64_t items;
  unsigned chunks;  // blocks of a row
};
struct RowPlace {
  std::int64_t row, item;
  __device__ explicit RowPlace(const RowWork& work)
      : row(blockIdx.x / work.chunks), item(std::int64_t{blockIdx.x % work.chunks} * blockDim.x + threadIdx.x) {}
};

// start(grid, block, work).
template <class Start>
void over_rows(std::int64_t rows, std::int64_t items, const Start& start) {
  constexpr std::int64_t kMostThreads = 256, kMostBlocks = 0x7fffffff;
  if (rows == 0 || items == 0) return;
  const std::int64_t threads = std::min(kMostThreads, (items + kWarp - 1) / kWarp * kWarp);
  const std::int64_t chunks = (items + threads - 1) / threads;
  SHARDORA_CHECK(chunks <= kMostBlocks / rows);
  start(dim3(static_cast<unsigned>(rows * chunks)), dim3(static_cast<unsigned>(threads)),
        RowWork{items, static_cast<unsigned>(chunks)});
}

}  // namespace shardora::cuda
