#include <algorithm>

#include "kernels/cuda/column_sums.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostParts = 256, kLeastRows = 16;

__global__ void add_column_parts_kernel(const float* parts, std::int64_t count, std::int64_t width, float* out) {
  const std::int64_t j = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j >= width) return;
  float sum = 0;
  for (std::int64_t p = 0; p < count; ++p) sum += parts[p * width + j];
  out[j] += sum;
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
  const auto blocks = static_cast<unsigned>((width + kThreads - 1) / kThreads);
  launch(add_column_parts_kernel, blocks, kThreads, 0, stream_of(backend), parts, count, width, out);
}

}  // namespace shardora::cuda
