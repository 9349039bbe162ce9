#include "kernels/cuda/attention_choice.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/flash_attention.h"

namespace shardora::cuda {

void prepare_attention(Backend& backend, const AttentionPlan& plan) {
  cuda_backend(backend).attention().prepare(backend, plan, cuda_backend(backend).deterministic());
}

std::int64_t attention_bytes(Backend& backend, const AttentionPlan& plan) {
  return cuda_backend(backend).attention().expected_bytes(plan, cuda_backend(backend).deterministic());
}

void attention_forward(Backend& backend, const AttentionForward& op) {
  FusedAttention* const fused = cuda_backend(backend).attention().fused_for(op);
  fused != nullptr ? fused->forward(op) : own_attention_forward(backend, op);
}

void attention_backward(Backend& backend, const AttentionBackward& op) {
  FusedAttention* const fused = cuda_backend(backend).attention().fused_for(op.forward);
  fused != nullptr ? fused->backward(op) : own_attention_backward(backend, op);
}

}  // namespace shardora::cuda
