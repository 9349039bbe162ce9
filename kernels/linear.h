// Plain matrix product, the adapters' workhorse. Row-major. a and b are of one type, fp32 or (on CUDA) bfloat16; c is
// of that type or fp32. Products and sums are fp32, rounded once as c is written.
//
//   c[m,n] = scale * op(a) * op(b)            (accumulate = false)
//   c[m,n] += scale * op(a) * op(b)           (accumulate = true)
//   op(x) = x or its transpose; sizes m, n, k may be 0 (k = 0 gives 0, or leaves c as it is when accumulating).
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct MatMul {
  TensorView a;  // [m,k], or [k,m] if transpose_a
  TensorView b;  // [k,n], or [n,k] if transpose_b
  TensorView c;  // [m,n]
  bool transpose_a = false;
  bool transpose_b = false;
  float scale = 1.0F;
  bool accumulate = false;
};
void matmul(Backend& backend, const MatMul& op);

// to[n,m] = from[m,n] transposed, fp32.
struct Transpose {
  TensorView from;  // [m,n]
  TensorView to;    // [n,m], must not overlap
};
void transpose(Backend& backend, const Transpose& op);

}  // namespace shardora
