// The products of kernels/cuda/gemm.h in plain loops, for the host emulation.
#include "kernels/cuda/gemm.h"

#include "kernels/check.h"
#include "kernels/emulation/devices.h"
#include "kernels/float_types.h"

namespace shardora::cuda {
namespace {

float element(const void* data, DType dtype, std::int64_t i) {
  if (dtype == DType::kF32) return static_cast<const float*>(data)[i];
  return float_from_bf16(static_cast<const std::uint16_t*>(data)[i]);
}

class EmulatedGemm final : public Gemm {
 public:
  void run(const GemmCall& p) override {
    SHARDORA_CHECK(p.m >= 1 && p.n >= 1 && p.k >= 1);
    SHARDORA_CHECK(p.result == DType::kF32 || p.result == p.operands);
    for (std::int64_t i = 0; i < p.m; ++i) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        float sum = 0;
        for (std::int64_t l = 0; l < p.k; ++l) {
          sum += element(p.a, p.operands, p.transpose_a ? l * p.m + i : i * p.k + l) *
                 element(p.b, p.operands, p.transpose_b ? j * p.k + l : l * p.n + j);
        }
        const std::int64_t at = i * p.n + j;
        const float value = p.scale * sum + (p.accumulate ? element(p.c, p.result, at) : 0.0F);
        if (p.result == DType::kF32) {
          static_cast<float*>(p.c)[at] = value;
        } else {
          static_cast<std::uint16_t*>(p.c)[at] = bf16_from_float(value);
        }
      }
    }
  }
  std::string description() const override { return "emulated products"; }
};

}  // namespace

std::size_t cublaslt_version() { return emulation::machine().cublaslt_version; }

std::unique_ptr<Gemm> make_gemm(cudaStream_t, Workspace) { return std::make_unique<EmulatedGemm>(); }

}  // namespace shardora::cuda
