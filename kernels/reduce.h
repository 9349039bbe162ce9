// Reductions. Fixed order: the same bits each time for one thread count.
#pragma once

#include "kernels/backend.h"

namespace shardora {

// sum_i x[i]^2 in float64. Infinite or NaN elements make it not finite. The host waits for the result.
double sum_of_squares(Backend& backend, TensorView x);

// Float64 sums, written as fp32.
//   rows:      out[i] = sum_j x[i,j]^2
//   columns:   out[j] = sum_i x[i,j]^2
struct SquaredNorms {
  TensorView x;    // [rows, columns], fp32; on a GPU bfloat16 as well
  TensorView out;  // [rows] or [columns]
};
void row_squared_norms(Backend& backend, const SquaredNorms& op);
void column_squared_norms(Backend& backend, const SquaredNorms& op);

}  // namespace shardora
