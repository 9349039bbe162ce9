// Rotary position embedding, halves convention (feature i pairs with i + head_dim/2), over the product of q or k; its
// gain and bias are applied on the way (gain.h).
//
//   forward    x = output of the product,   (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin)
//   backward   the inverse rotation of the gradient, and from that du and h of the product
//
// The angle is the table's row of the token's position.
#pragma once

#include "kernels/gain.h"

namespace shardora {

struct RopeTable {
  TensorView cosines, sines;  // [max_positions, head_dim / 2]
};

struct RopeForward {
  LinearProduct x;       // [tokens, heads, head_dim]
  TensorView positions;  // int32 [tokens], within each sequence
  RopeTable table;
  TensorView y;  // [tokens, heads, head_dim]; may be x.u itself
};
void rope_forward(Backend& backend, const RopeForward& op);

struct RopeBackward {
  TensorView dy;         // [tokens, heads, head_dim]
  LinearProduct x;       // as given to forward; u is needed for h only
  TensorView positions;  // int32 [tokens]
  RopeTable table;
  ProductGradient dx;  // h wherever x has a gain; du may be dy itself
};
void rope_backward(Backend& backend, const RopeBackward& op);

}  // namespace shardora
