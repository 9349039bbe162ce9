// Rotary position embedding, in place, halves convention (feature i pairs with i + head_dim/2).
//
//   forward    (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin)      angle = table of the token's position
//   backward   the inverse rotation of the gradient
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct Rope {
  TensorView x;          // [tokens, heads, head_dim], rotated in place
  TensorView positions;  // int32 [tokens], within each sequence
  TensorView cosines;    // [max_positions, head_dim / 2]
  TensorView sines;      // [max_positions, head_dim / 2]
};
void rope_forward(Backend& backend, const Rope& op);
void rope_backward(Backend& backend, const Rope& op);

}  // namespace shardora
