// Attention by kernels of our own: any head size up to kMostHeadSize, fp32 and bfloat16, every mask, any lengths, zero
// and one included; the same bits each time. No memory beyond q, k, v, o and lse, but for the backward pass's delta,
// [query_tokens, query_heads] in fp32, which the workspace must hold.
//
// The offsets stand on the device and are not looked at on the host: that they grow, stay within the tokens and give
// each query a key is the caller's word. Rows of no sequence are left as they are.
#pragma once

#include "kernels/attention.h"

namespace shardora::cuda {

inline constexpr std::int64_t kMostHeadSize = 256;

void own_attention_forward(Backend& backend, const AttentionForward& op);
void own_attention_backward(Backend& backend, const AttentionBackward& op);

}  // namespace shardora::cuda
