#include "kernels/cuda/block.h"
#include "kernels/cuda/flash_attention.h"
#include "kernels/cuda/flash_kernels.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;

FlashShape shape_of(const AttentionForward& op) {
  const std::int64_t heads = op.q.size(1), kv_heads = op.k.size(1), dim = op.q.size(2);
  SHARDORA_CHECK(kv_heads >= 1 && heads % kv_heads == 0);
  SHARDORA_CHECK(dim >= 1 && dim <= kMostHeadSize && dim == op.k.size(2));
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
          .aligned = false,
          .scale = op.scale,
          .mask = op.mask};
}

// delta = rowsum(do * o): one warp a row of [rows, dim].
template <class T>
__global__ void flash_delta_kernel(const T* o, const T* d_o, std::int64_t rows, int dim, float* delta) {
  const std::int64_t row = (std::int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
  if (row >= rows) return;
  float sum = 0;
  for (int d = static_cast<int>(threadIdx.x) % kWarp; d < dim; d += kWarp) {
    sum += to_float(o[row * dim + d]) * to_float(d_o[row * dim + d]);
  }
  sum = warp_reduce<SumOf>(sum);
  if (threadIdx.x % kWarp == 0) delta[row] = sum;
}

}  // namespace

void own_attention_forward(Backend& backend, const AttentionForward& op) {
  FlashShape shape = shape_of(op);
  with_element_type(op.q.dtype, [&](auto type) {
    using T = decltype(type);
    const ForwardTensors<T> tensors{.q = elements_of<T>(op.q),
                                    .k = elements_of<T>(op.k),
                                    .v = elements_of<T>(op.v),
                                    .o = elements_of<T>(op.o),
                                    .lse = op.lse.as<float>(),
                                    .queries = op.q.size(0)};
    shape.aligned = is_vector_aligned<T>(shape.dim, {tensors.q, tensors.k, tensors.v, tensors.o});
    flash_forward(backend, shape, tensors);
  });
}

void own_attention_backward(Backend& backend, const AttentionBackward& op) {
  const AttentionForward& forward = op.forward;
  FlashShape shape = shape_of(forward);
  SHARDORA_CHECK(op.d_o.shape == forward.q.shape && op.dq.shape == forward.q.shape);
  SHARDORA_CHECK(op.dk.shape == forward.k.shape && op.dv.shape == forward.k.shape);
  const std::int64_t rows = forward.q.size(0) * shape.heads;
  auto* const delta = cuda_backend(backend).workspace<float>(rows);
  with_element_type(forward.q.dtype, [&](auto type) {
    using T = decltype(type);
    const BackwardTensors<T> tensors{.q = elements_of<T>(forward.q),
                                     .k = elements_of<T>(forward.k),
                                     .v = elements_of<T>(forward.v),
                                     .d_o = elements_of<T>(op.d_o),
                                     .lse = forward.lse.as<float>(),
                                     .delta = delta,
                                     .dq = elements_of<T>(op.dq),
                                     .dk = elements_of<T>(op.dk),
                                     .dv = elements_of<T>(op.dv),
                                     .queries = forward.q.size(0),
                                     .keys = forward.k.size(0)};
    shape.aligned = is_vector_aligned<T>(
        shape.dim, {tensors.q, tensors.k, tensors.v, tensors.d_o, tensors.dq, tensors.dk, tensors.dv});
    launch(flash_delta_kernel<T>, static_cast<unsigned>((rows * kWarp + kThreads - 1) / kThreads), kThreads, 0,
           stream_of(backend), elements_of<T>(forward.o), tensors.d_o, rows, shape.dim, delta);
    flash_backward(backend, shape, tensors);
  });
}

}  // namespace shardora::cuda
