// The table that a training run begins with.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/process_grid.h"
#include "runtime/memory/memory_plan.h"
#include "runtime/model/parameters.h"

namespace shardora {

// Logical parameters that train, by kind: A, B, m, or weights under full; kinds without any are absent.
std::vector<std::pair<std::string, std::int64_t>> trained_by_kind(const ParameterSet& parameters);

struct StartFacts {
  std::string model, weights, device;  // weights: how frozen ones are kept; empty: none are
  std::int64_t parameters = 0;         // of the whole model
  const ParameterSet& trained;
  const ProcessGrid& grid;
  std::int64_t first_step = 1, steps = 0, sequences = 0, micro_batches = 0;  // of a step; micro-batches of this rank
  const MemoryPlan& memory;
};
// One line a fact, then the memory of a rank by segment.
std::string start_table(const StartFacts& facts);

}  // namespace shardora
