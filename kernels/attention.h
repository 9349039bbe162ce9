// Attention over packed sequences, grouped-query; no [tokens, tokens] matrix is ever built.
//
//   Sequence s has queries [query_offsets[s], query_offsets[s+1]) and keys likewise; its last query stands at its last
//   key (so a shorter query range continues a longer key range: generation with a cache).
//   forward    p = softmax_j(scale * q_i . k_j) over the visible j of the same sequence,  o_i = sum_j p_ij v_j
//              lse[t,h] = log sum_j exp(scale * q_i . k_j)
//   visible    full: all; causal: j <= i; window: i - window < j <= i   (i, j: positions in the key range)
//   backward   delta_i = do_i . o_i,  ds_ij = p_ij (do_i . v_j - delta_i) scale
//              dq_i = sum_j ds_ij k_j,  dk_j = sum_i ds_ij q_i,  dv_j = sum_i p_ij do_i        (all written, =)
//   Query head h reads key head h / (query_heads / kv_heads). A sequence of length 0 is allowed.
#pragma once

#include "kernels/backend.h"

namespace shardora {

enum class MaskKind : std::uint8_t { kFull, kCausal, kWindow };

struct AttentionMask {
  MaskKind kind = MaskKind::kCausal;
  std::int64_t window = 0;  // kWindow only, >= 1
  bool operator==(const AttentionMask&) const = default;
};

struct AttentionForward {
  TensorView q;              // [query_tokens, query_heads, head_dim]
  TensorView k, v;           // [key_tokens, kv_heads, head_dim]
  TensorView query_offsets;  // int32 [sequences + 1]
  TensorView key_offsets;    // int32 [sequences + 1]
  std::int64_t longest = 0;  // tokens of the longest sequence, where the caller knows it; 0: not known
  AttentionMask mask;
  float scale = 1.0F;
  TensorView o;    // [query_tokens, query_heads, head_dim]
  TensorView lse;  // [query_tokens, query_heads]
};
void attention_forward(Backend& backend, const AttentionForward& op);

struct AttentionBackward {
  AttentionForward forward;  // as it ran, o and lse included
  TensorView d_o;            // [query_tokens, query_heads, head_dim]
  TensorView dq;             // like q
  TensorView dk, dv;         // like k, v
};
void attention_backward(Backend& backend, const AttentionBackward& op);

// What all attention calls of a run have in common, so that what they need is made before its first step. A model with
// several masks has a plan for each.
struct AttentionPlan {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;  // of this rank
  std::int64_t most_tokens = 0, most_sequences = 0;    // of one call
  std::int64_t longest = 0;                            // tokens of the longest sequence
  AttentionMask mask;
  DType dtype = DType::kF32;  // of q, k, v and o
  bool training = true;       // the backward pass is called too
  bool operator==(const AttentionPlan&) const = default;
};
// CPU: nothing is needed. GPU: chooses which attention serves the plan's calls, the same in forward and backward; makes
// its graphs and allocates its workspace. Calls that no plan covers (more tokens than planned, queries that are not the
// keys) are served without preparation. Throws Error(kUnavailable) where BackendOptions::attention asks for what does
// not serve the plan.
void prepare_attention(Backend& backend, const AttentionPlan& plan);
// Device memory that prepare_attention() is expected to take, for plans of memory.
std::int64_t attention_bytes(Backend& backend, const AttentionPlan& plan);

}  // namespace shardora
