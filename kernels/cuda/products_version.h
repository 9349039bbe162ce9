// Which cuBLASLt the products run on: its version as cublasLtGetVersion() gives it, 10000 major + 100 minor + patch.
#pragma once

#include <cstddef>
#include <string>

namespace shardora::cuda {

// Throws Error(kUnavailable) with found, needed and remedy where it is older than CUDA 12.4's.
void require_cublaslt(std::size_t version);
std::string cublaslt_name(std::size_t version);  // "cuBLASLt 13.1"

}  // namespace shardora::cuda
