// CUDA as kernels/cuda sees it: the toolkit's, or the host emulation that the tests run the same sources on. This is
// the one place that chooses: the emulation gives what the toolkit and the rest of this file give, namely CUDA's
// runtime and intrinsics, SHARDORA_SHARED and SHARDORA_DYNAMIC_SHARED, bf16_bits(), launch(), and the functions of
// ptx.h. Kernels are started with launch(), never with <<<>>>, and take shared memory by the two macros, so that they
// are plain C++.
#pragma once

#ifdef SHARDORA_EMULATED
#include "kernels/emulation/emulation.h"
#include "kernels/emulation/ptx.h"
#else

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "kernels/cuda/cuda_check.h"
#ifdef __CUDACC__  // the host's compiler, which compiles the .cc files, does not know what ptx.h uses
#include "kernels/cuda/ptx.h"
#endif

// An array of the block, by name: T name[count].
#define SHARDORA_SHARED(T, name, count) __shared__ T name[count]
// The block's memory of launch()'s shared_bytes, aligned to 16 bytes, as T* name. Once in a kernel.
#define SHARDORA_DYNAMIC_SHARED(T, name)                         \
  extern __shared__ __align__(16) unsigned char dynamic_bytes[]; \
  T* const name = reinterpret_cast<T*>(dynamic_bytes)

namespace shardora::cuda {

// bf16_from_float() in one instruction on the device.
__host__ __device__ __forceinline__ std::uint16_t bf16_bits(float value) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}

// Queues kernel(arguments...) on the stream. An empty grid queues nothing.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  constexpr std::size_t kWithoutAsking = 48 << 10;
  if (shared_bytes > kWithoutAsking) {
    SHARDORA_CHECK(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = grid;
  configuration.blockDim = block;
  configuration.dynamicSmemBytes = shared_bytes;
  configuration.stream = stream;
  SHARDORA_CHECK(cudaLaunchKernelEx(&configuration, kernel, static_cast<Parameters>(arguments)...));
}

}  // namespace shardora::cuda

#endif
