#include "kernels/cuda/products_version.h"

#include "kernels/check.h"

namespace shardora::cuda {
namespace {

constexpr std::size_t kLeast = 120400;

std::string number_of(std::size_t version) { return fmt::format("{}.{}", version / 10000, version % 10000 / 100); }

}  // namespace

void require_cublaslt(std::size_t version) {
  if (version >= kLeast) return;
  refuse(
      ExitStatus::kUnavailable,
      "parallel.backend = cuda: found {}, needed {} or newer; install a CUDA toolkit of {} or newer (LD_LIBRARY_PATH "
      "may point to an old libcublasLt), or set parallel.backend = cpu",
      cublaslt_name(version), number_of(kLeast), number_of(kLeast));
}

std::string cublaslt_name(std::size_t version) { return "cuBLASLt " + number_of(version); }

}  // namespace shardora::cuda
