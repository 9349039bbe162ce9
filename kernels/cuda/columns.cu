#include <algorithm>

#include "kernels/cuda/columns.h"

namespace shardora::cuda {
namespace {

constexpr std::int64_t kMostParts = 256, kLeastRows = 32;

// A warp is 32 columns; the block's 32 warps take the parts in turn.
__global__ void add_column_parts_kernel(const float* parts, std::int64_t count, std::int64_t width, float* out) {
  SHARDORA_SHARED(float, sums, kWarp* kWarp);
  const std::int64_t j = std::int64_t{blockIdx.x} * kWarp + threadIdx.x;
  float sum = 0;
  for (std::int64_t p = j < width ? threadIdx.y : count; p < count; p += kWarp) sum += parts[p * width + j];
  sums[threadIdx.y * kWarp + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || j >= width) return;
  float total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarp; ++warp) total += sums[warp * kWarp + static_cast<int>(threadIdx.x)];
  out[j] += total;
}

}  // namespace

RowParts row_parts(std::int64_t rows, std::int64_t width) {
  if (rows == 0 || width == 0) return {};
  const std::int64_t room = CudaBackend::kWorkspaceBytes / static_cast<std::int64_t>(sizeof(float)) / width;
  SHARDORA_CHECK(room >= 1);
  const std::int64_t wanted = std::min({kMostParts, room, (rows + kLeastRows - 1) / kLeastRows});
  const std::int64_t rows_each = (rows + wanted - 1) / wanted;
  return {(rows + rows_each - 1) / rows_each, rows_each};
}

void add_column_parts(Backend& backend, const float* parts, std::int64_t count, std::int64_t width, float* out) {
  const auto blocks = static_cast<unsigned>((width + kWarp - 1) / kWarp);
  launch(add_column_parts_kernel, blocks, dim3(kWarp, kWarp), 0, stream_of(backend), parts, count, width, out);
}

}  // namespace shardora::cuda
