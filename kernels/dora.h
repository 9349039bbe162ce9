// What DoRA needs beyond matrix products: the gain, its gradient, and the norm of W + s*B*A without building B*A.
// Source: arXiv 2402.09353, and the derivations in the comments below; n^ = max(n, 1e-12) wherever n is divided by.
#pragma once

#include "kernels/gain.h"

namespace shardora {

// gain = m / n^.
struct DoraGain {
  TensorView magnitude;  // m [width]
  TensorView norm;       // n [width]
  TensorView gain;       // [width]
};
void dora_gain(Backend& backend, const DoraGain& op);

// Dropout in scope `input`, output axis: y = base + (gain - 1).p + gain.e with base = x W^T, p = x' W^T, e = s z B^T;
// and u' = p + e, which h is made from. Written so that gain = 1 and e = 0 give y = base exactly.
struct DropoutGainForward {
  TensorView base, p, e;  // [tokens, width]
  TensorView gain;        // [width]
  TensorView y;           // [tokens, width]; may be base itself
  TensorView u;           // [tokens, width]; may be p itself
};
void dropout_gain_forward(Backend& backend, const DropoutGainForward& op);

// y[t,j] = (gain[j] - 1) * x[t,j].
struct GainMinusOne {
  TensorView x, gain, y;  // y may be x
};
void gain_minus_one(Backend& backend, const GainMinusOne& op);

// One column sum for both axes. With r rows of factors:
//   cross[j]     = sum_k x[k,j] * y[k,j]           third[j] = sum_k x[k,j] * z[k,j]
//   squared[j]   = w[j] + 2 s cross[j] + s^2 third[j]
//   reference[j] = w[j] + s^2 third[j]             where squared < reference / 16 the terms nearly cancel
// output axis: w = rowsum(W.W),  x = B^T, y = A W^T,  z = (A A^T) B^T        [r, out]
// input axis:  w = colsum(W.W),  x = A,   y = B^T W,  z = (B^T B) A          [r, in]
// A shard gives its part of every sum; parts add over the sharded dimension.
struct LowRankNorm {
  TensorView squared_weight;      // w [width]
  TensorView x, y, z;             // [r, width]
  float scale = 1.0F;             // s
  TensorView squared, reference;  // [width], written
};
void low_rank_norm(Backend& backend, const LowRankNorm& op);

// The direct evaluation for rows (columns) that nearly cancel, with float64 sums. It is rare, and who asks for it
// decides on the host what to do next: `columns` and `out` live there, and `out` is written when the call returns.
//   rows:     out[i] = sum_j (w[i,j] + s sum_k b[i,k] a[k,j])^2                    for all given rows
//   columns:  out[c] += sum_i (w[i,j] + s sum_k b[i,k] a[k,j])^2, j = columns[c]
struct DirectNorm {
  TensorView w;        // [rows, in]
  TensorView b;        // [rows, r]
  TensorView a;        // [r, in]
  float scale = 1.0F;  // s
  TensorView columns;  // int32 [count], host memory; columns only
  TensorView out;      // float64: [rows] or [count], host memory
};
void direct_row_norms(Backend& backend, const DirectNorm& op);
void direct_column_norms(Backend& backend, const DirectNorm& op);

// norm[j] = sqrt(max(squared[j], 0)).
struct NormFromSquare {
  TensorView squared, norm;  // [width]; may be the same
};
void norm_from_square(Backend& backend, const NormFromSquare& op);

// magnitude = n^: where training starts, so that the gain is exactly 1.
struct InitialMagnitude {
  TensorView norm, magnitude;  // [width]
};
void initial_magnitude(Backend& backend, const InitialMagnitude& op);

// The derivative through the norm: c = -s m.h / n^3, and 0 where n < 1e-12. s is the scale of what c multiplies.
struct NormGradientFactor {
  TensorView magnitude, norm, h, c;  // [width]
  float scale = 1.0F;                // s
};
void norm_gradient_factor(Backend& backend, const NormGradientFactor& op);

// dm = h / n^, in place over h.
struct MagnitudeGradient {
  TensorView norm, h;  // [width]
};
void magnitude_gradient(Backend& backend, const MagnitudeGradient& op);

}  // namespace shardora
