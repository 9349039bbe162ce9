// SHARDORA_CHECK of CUDA's runtime. Out of device memory is the user's to mend; anything else is passed on unchanged.
#pragma once

#include <cuda_runtime.h>

#include "kernels/check.h"

namespace shardora {

inline void require_ok(cudaError_t status, const char* expression,
                       std::source_location at = std::source_location::current()) {
  if (status == cudaSuccess) return;
  if (status == cudaErrorMemoryAllocation) {
    refuse(ExitStatus::kOutOfMemory,
           "out of device memory in {}: lower train.micro_batch_tokens, or raise "
           "parallel.tensor",
           expression);
  }
  fail(fmt::format("CUDA: {} ({})", cudaGetErrorString(status), cudaGetErrorName(status)), expression, at);
}

}  // namespace shardora
