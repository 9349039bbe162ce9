// Reductions of one buffer to a number on the host. Fixed order: the same bits each time for one thread count.
#pragma once

#include "kernels/backend.h"

namespace shardora {

// sum_i x[i]^2 in float64. Infinite or NaN elements make it not finite. The host waits for the result.
double sum_of_squares(Backend& backend, TensorView x);

}  // namespace shardora
