#include "kernels/cuda/cudnn_library.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include "kernels/cuda/fused_rules.h"

namespace shardora::cuda {
namespace {

constexpr const char* kName = "libcudnn.so.9";

CudnnLibrary load() {
  void* const handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return {.problem = fmt::format("{} not found", kName)};
  const auto version_of = reinterpret_cast<std::size_t (*)()>(dlsym(handle, "cudnnGetVersion"));
  if (version_of == nullptr) return {.problem = fmt::format("{} has no cudnnGetVersion", kName)};
  const int version = static_cast<int>(version_of());
  if (version < kLeastCudnn) {
    return {.version = version,
            .problem = fmt::format("cuDNN {} found, {} or newer needed", cudnn_version_text(version),
                                   cudnn_version_text(kLeastCudnn))};
  }
  return {.handle = handle, .version = version, .problem = {}};
}

}  // namespace

const CudnnLibrary& cudnn_library() {
  static const CudnnLibrary library = load();
  return library;
}

std::string cudnn_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

}  // namespace shardora::cuda
