// SHARDORA_CHECK of cuBLASLt. Out of device memory is the user's to mend; anything else is told as it came.
#pragma once

#include <cublasLt.h>

#include "kernels/check.h"

namespace shardora {

inline void require_ok(cublasStatus_t status, const char* expression,
                       std::source_location at = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  if (status == CUBLAS_STATUS_ALLOC_FAILED) {
    refuse(ExitStatus::kOutOfMemory,
           "out of device memory in {}: lower train.micro_batch_tokens, or raise parallel.tensor", expression);
  }
  fail(fmt::format("cuBLASLt: {} ({})", cublasLtGetStatusString(status), cublasLtGetStatusName(status)), expression,
       at);
}

}  // namespace shardora
