// One pass of a micro-batch through the model: what every layer is given besides its input.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "runtime/memory/arena.h"
#include "runtime/model/kv_cache.h"
#include "runtime/model/tensor_parallel.h"

namespace shardora {

// A micro-batch on the device, and the tables that its positions index.
struct DeviceBatch {
  TensorView tokens, positions;     // int32 [tokens]
  TensorView sequence_indices;      // int64 [tokens]
  TensorView offsets;               // int32 [sequences + 1]
  std::int64_t longest = 0;         // tokens of the longest sequence
  TensorView target_rows, targets;  // int32 [targets]
  TensorView cosines, sines;        // [positions, head_dim / 2]
  CacheAccess cache;                // generation only
};

// Nothing is owned.
struct Pass {
  Backend& backend;
  const TensorParallel& parallel;
  Arena& scratch;  // released block by block
  const DeviceBatch& batch;
  std::int64_t step = 0;  // keys the dropout masks
  bool training = false;  // dropout is active, and what backward needs is kept
  bool profile_ranges = false;
};

}  // namespace shardora
