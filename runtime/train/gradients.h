// Sums of gradients over ranks, once per optimizer step, and their norm.
#pragma once

#include "runtime/comm/process_grid.h"
#include "runtime/model/parameters.h"

namespace shardora {

// Over the tensor group: the partial and complete parts, the latter given by tensor rank 0 alone, so that replicas stay
// bitwise equal. Then over the data group: everything.
void reduce_gradients(Backend& backend, const ProcessGrid& grid, ParameterSet& parameters);

// L2 norm of the reduced gradient, each logical element counted once; the same on every rank.
double gradient_norm(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters);

}  // namespace shardora
