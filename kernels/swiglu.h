// Gated activation of the MLP, over the products of gate and up; their gains and biases are applied on the way
// (gain.h).
//
//   forward    gate, up = outputs of the products,   y = gate * sigmoid(gate) * up
//   backward   s = sigmoid(gate):  dgate = dy * up * s * (1 + gate * (1 - s)),   dup = dy * gate * s,
//              and from them du and h of either product
#pragma once

#include "kernels/gain.h"

namespace shardora {

struct SwigluForward {
  LinearProduct gate, up;  // [tokens, width]
  TensorView y;            // [tokens, width]
};
void swiglu_forward(Backend& backend, const SwigluForward& op);

struct SwigluBackward {
  TensorView dy;               // [tokens, width]
  LinearProduct gate, up;      // as given to forward
  ProductGradient dgate, dup;  // du may be dy, or either u itself
};
void swiglu_backward(Backend& backend, const SwigluBackward& op);

}  // namespace shardora
