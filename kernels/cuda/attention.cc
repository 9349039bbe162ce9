#include "kernels/cuda/cuda.h"
#include "kernels/cuda/flash_attention.h"

namespace shardora::cuda {

void attention_forward(Backend& backend, const AttentionForward& op) { own_attention_forward(backend, op); }
void attention_backward(Backend& backend, const AttentionBackward& op) { own_attention_backward(backend, op); }

}  // namespace shardora::cuda
