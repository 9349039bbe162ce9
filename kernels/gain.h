// The gain of DoRA and the frozen bias of a linear layer's output, column by column. The passes that read an output or
// make its gradient apply them on the way (rope.h, swiglu.h); scale_columns is for outputs that have no such pass.
//
//   forward    y[t,j] = gain[j] * u[t,j] + bias[j]             (empty gain: 1, empty bias: 0)
//   backward   h[j] += sum_t dy[t,j] * u[t,j],   du[t,j] = gain[j] * dy[t,j]
//
// On the output axis u is the layer's product and dm = h / n^; on the input axis u is the layer's input x.
#pragma once

#include "kernels/backend.h"

namespace shardora {

// A linear layer's product, and what makes its output of it.
struct LinearProduct {
  TensorView u;     // [tokens, width], or the same elements as [tokens, heads, head_dim]
  TensorView gain;  // [width] or empty
  TensorView bias;  // [width] or empty
};

struct ProductGradient {
  TensorView du;  // as u; written
  TensorView h;   // [width], +=, or empty
};

struct ScaleColumnsForward {
  TensorView u;         // [tokens, width]
  TensorView gain;      // [width] or empty
  TensorView bias;      // [width] or empty
  TensorView residual;  // [tokens, width], added to y, or empty
  TensorView y;         // [tokens, width]; may be u or residual itself
};
void scale_columns_forward(Backend& backend, const ScaleColumnsForward& op);

struct ScaleColumnsBackward {
  TensorView dy;            // [tokens, width]
  TensorView u;             // [tokens, width]; needed for h only
  TensorView gain;          // [width] or empty
  TensorView du;            // [tokens, width]; may be dy itself where it is not accumulated
  bool accumulate = false;  // du +=
  TensorView h;             // [width], +=, or empty
};
void scale_columns_backward(Backend& backend, const ScaleColumnsBackward& op);

}  // namespace shardora
