// Root-mean-square normalisation over the last dimension.
//
//   forward    rstd[t] = 1 / sqrt(mean_j x[t,j]^2 + epsilon),   y[t,j] = weight[j] * x[t,j] * rstd[t]
//   backward   v = dy[t,:] * weight,   dx[t,j] (=|+=) rstd[t] * (v[j] - x[t,j] * rstd[t]^2 * mean_j(v * x))
//              dweight[j] += sum_t dy[t,j] * x[t,j] * rstd[t]
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct RmsNormForward {
  TensorView x;       // [rows, width]
  TensorView weight;  // [width]
  float epsilon = 1e-5F;
  TensorView y;     // [rows, width]; may be x itself
  TensorView rstd;  // [rows], written
};
void rms_norm_forward(Backend& backend, const RmsNormForward& op);

struct RmsNormBackward {
  TensorView dy;      // [rows, width]
  TensorView x;       // [rows, width], as given to forward
  TensorView weight;  // [width]
  TensorView rstd;    // [rows]
  TensorView dx;      // [rows, width]; may be dy itself when not accumulating
  bool accumulate = false;
  TensorView dweight;  // [width], +=; empty where the weight is frozen
};
void rms_norm_backward(Backend& backend, const RmsNormBackward& op);

}  // namespace shardora
