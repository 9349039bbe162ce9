// Replicated state, compared: what every rank of a group must hold alike, to the bit.
#pragma once

#include "runtime/comm/process_grid.h"
#include "runtime/model/parameters.h"

namespace shardora {

// Values and moments of replicated tensors are bitwise equal over the tensor group, and all of them over the data
// group. Where they are not, throws AgreedError(kCorruption) on all ranks, naming the tensor and the ranks that differ
// from most others (of two, both). Collective over the world.
void require_equal_replicas(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters);

}  // namespace shardora
