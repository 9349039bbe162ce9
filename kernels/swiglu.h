// Gated activation of the MLP.
//
//   forward    y = gate * sigmoid(gate) * up
//   backward   s = sigmoid(gate):  dgate = dy * up * s * (1 + gate * (1 - s)),   dup = dy * gate * s
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct SwigluForward {
  TensorView gate, up;  // [tokens, width]
  TensorView y;         // [tokens, width]
};
void swiglu_forward(Backend& backend, const SwigluForward& op);

struct SwigluBackward {
  TensorView dy;          // [tokens, width]
  TensorView gate, up;    // as given to forward
  TensorView dgate, dup;  // written; may be dy, gate or up themselves
};
void swiglu_backward(Backend& backend, const SwigluBackward& op);

}  // namespace shardora
