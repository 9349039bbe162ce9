// Matrix products of the GPU: cuBLASLt (gemm.cc), and plain loops under the host emulation. Row-major, no gaps.
//
//   c[m,n] (=|+=) scale * op(a) op(b)      op(x): x or its transpose; products and sums in fp32, no TF32
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "kernels/tensor.h"

namespace shardora::cuda {

struct GemmCall {
  const void* a = nullptr;           // [m,k], or [k,m] if transpose_a
  const void* b = nullptr;           // [k,n], or [n,k] if transpose_b
  void* c = nullptr;                 // [m,n]
  std::int64_t m = 0, n = 0, k = 0;  // >= 1
  DType operands = DType::kF32;      // of a and b: fp32 or bfloat16
  DType result = DType::kF32;        // of c: that of the operands, or fp32
  bool transpose_a = false, transpose_b = false;
  float scale = 1.0F;
  bool accumulate = false;
};

class Gemm {
 public:
  virtual ~Gemm() = default;
  virtual void run(const GemmCall& call) = 0;
  virtual std::string description() const = 0;  // library and version
};

std::size_t cublaslt_version();  // as cublasLtGetVersion() gives it: 10000 major + 100 minor + patch

// `workspace` is the products' own for as long as they live, aligned to 256 bytes; only calls of the stream touch it.
struct Workspace {
  void* data = nullptr;
  std::size_t bytes = 0;
};
std::unique_ptr<Gemm> make_gemm(cudaStream_t stream, Workspace workspace);

}  // namespace shardora::cuda
