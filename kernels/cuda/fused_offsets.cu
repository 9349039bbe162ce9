#include "kernels/cuda/fused_offsets.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 128;

unsigned blocks_for(std::int64_t count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

__device__ std::int64_t this_element() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + static_cast<std::int64_t>(threadIdx.x);
}

__global__ void fused_offsets_kernel(FusedShape shape, const std::int32_t* offsets, std::int64_t sequences,
                                     FusedOffsets to) {
  const std::int64_t s = this_element();
  if (s > shape.batch) return;
  const std::int64_t first = offsets[s < sequences ? s : sequences];
  if (s < shape.batch) to.lengths[s] = s < sequences ? offsets[s + 1] - offsets[s] : 0;
  to.query_starts[s] = first * shape.heads * shape.head_dim;
  to.key_starts[s] = first * shape.kv_heads * shape.head_dim;
  to.lse_starts[s] = first * shape.heads;
}

// One block: kThreads places of one sequence, in blockIdx.y; each thread all heads of one token.
__global__ void pack_lse_kernel(FusedShape shape, FusedOffsets offsets, const float* padded, float* packed) {
  const std::int64_t s = blockIdx.y, i = this_element();
  if (i >= offsets.lengths[s]) return;
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    packed[offsets.lse_starts[s] + i * shape.heads + h] = padded[(s * shape.heads + h) * shape.longest + i];
  }
}

__global__ void pad_lse_kernel(FusedShape shape, FusedOffsets offsets, const float* packed, float* padded) {
  const std::int64_t s = blockIdx.y, i = this_element();
  if (i >= shape.longest) return;
  const bool is_token = i < offsets.lengths[s];
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    padded[(s * shape.heads + h) * shape.longest + i] =
        is_token ? packed[offsets.lse_starts[s] + i * shape.heads + h] : 0.0F;
  }
}

}  // namespace

void write_fused_offsets(cudaStream_t stream, const FusedShape& shape, const std::int32_t* offsets,
                         std::int64_t sequences, const FusedOffsets& to) {
  launch(fused_offsets_kernel, blocks_for(shape.batch + 1), kThreads, 0, stream, shape, offsets, sequences, to);
}

void pack_lse(cudaStream_t stream, const FusedShape& shape, const FusedOffsets& offsets, const float* padded,
              float* packed) {
  const dim3 grid(blocks_for(shape.longest), static_cast<unsigned>(shape.batch));
  launch(pack_lse_kernel, grid, kThreads, 0, stream, shape, offsets, padded, packed);
}

void pad_lse(cudaStream_t stream, const FusedShape& shape, const FusedOffsets& offsets, const float* packed,
             float* padded) {
  const dim3 grid(blocks_for(shape.longest), static_cast<unsigned>(shape.batch));
  launch(pad_lse_kernel, grid, kThreads, 0, stream, shape, offsets, packed, padded);
}

}  // namespace shardora::cuda
