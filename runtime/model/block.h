// One decoder layer (Llama's shape, which all supported families share):
//
//   x1 = norm(h),  a = o(attention(rope(q(x1)), rope(k(x1)), v(x1))),  m = h + a
//   x2 = norm(m),  h' = m + down(silu(gate(x2)) . up(x2))                    qwen3: q and k are normalised by head
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kernels/attention.h"
#include "runtime/model/dora_linear.h"

namespace shardora {

struct NormWeight {
  TensorView weight, dweight;  // [width]; dweight where it trains
};

// What a layer keeps of one micro-batch. Under Recompute::kSelective x1, x2 and activated are empty.
struct BlockSaved {
  TensorView h, x1, rstd1;  // [tokens, hidden], [tokens]
  LinearSaved q_saved, k_saved, v_saved, o_saved, gate_saved, up_saved, down_saved;
  TensorView q_raw, k_raw, q_rstd, k_rstd;  // before the norm by head; empty without one
  TensorView q, k, v, attended, lse;        // after rope; [tokens, heads, head_dim]
  TensorView m, x2, rstd2;
  TensorView gate, up, activated;  // [tokens, intermediate]; gate, up empty where u of the layer is all there is
};

class Block {
 public:
  DoraLinear q, k, v, o, gate, up, down;
  NormWeight input_norm, post_norm, q_norm, k_norm;                     // q_norm, k_norm empty without
  std::int64_t number = 0;                                              // from 0
  std::int64_t hidden_size = 0, heads = 0, kv_heads = 0, head_dim = 0;  // heads of this rank
  float epsilon = 0;
  AttentionMask mask;

  std::vector<DoraLinear*> linears() { return {&q, &k, &v, &o, &gate, &up, &down}; }
  bool trains() const;
  // All but h.
  BlockSaved take_saved(Arena& arena, DType dtype, std::int64_t tokens, Recompute recompute) const;

  // saved.h is the layer's input; h_out [tokens, hidden] is written.
  void forward(const Pass& pass, const BlockSaved& saved, TensorView h_out) const;
  // dh comes in as the gradient of h_out and leaves as that of h (undefined where it is not needed).
  void backward(const Pass& pass, const BlockSaved& saved, TensorView dh, bool needs_input_gradient) const;

 private:
  void attention_forward_part(const Pass& pass, const BlockSaved& saved) const;
  void attention_backward_part(const Pass& pass, const BlockSaved& saved, TensorView dh,
                               bool needs_input_gradient) const;
  // Room for, and again the values of, what a selective BlockSaved has not kept; nothing where it was kept.
  void take_missing(ScratchScope& scope, BlockSaved& saved) const;
  void recompute_x1(const Pass& pass, ScratchScope& scope, BlockSaved& saved) const;
  void recompute_mlp(const Pass& pass, ScratchScope& scope, BlockSaved& saved) const;
  void mlp_backward_part(const Pass& pass, const BlockSaved& saved, TensorView dh) const;
  void activate(const Pass& pass, const BlockSaved& saved) const;
  // Between the projection of queries or of keys and the attention: gain and bias, the norm by head, the rotation.
  struct QueryOrKey {
    const DoraLinear& linear;
    const LinearSaved& saved;
    const NormWeight& norm;
    TensorView raw, rstd, y;  // of BlockSaved
    TensorView output() const;
    LinearProduct product(const Pass& pass) const;
  };
  QueryOrKey query_of(const BlockSaved& saved) const;
  QueryOrKey key_of(const BlockSaved& saved) const;
  void query_or_key_forward(const Pass& pass, const QueryOrKey& part) const;
  // dy becomes the gradient of the product.
  void query_or_key_backward(const Pass& pass, const QueryOrKey& part, TensorView dy) const;
  AttentionForward attention_call(const DeviceBatch& batch, const BlockSaved& saved) const;
  void write_kv_cache(const Pass& pass, const BlockSaved& saved) const;
};

}  // namespace shardora
