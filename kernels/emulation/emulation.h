// CUDA on the host, for tests: kernels/cuda compiled as C++. The threads of a block are fibers that run in random order
// and change places at barriers and warp shuffles only, so that what needs a barrier and has none goes wrong; shared
// memory is made anew for each block, filled with NaN, exactly as large as it was asked for, so that the address
// sanitizer sees what reads beyond it. Device memory is host memory; a stream does its work as it is queued.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <typeindex>

#include "kernels/cuda/cuda_check.h"
#include "kernels/emulation/cuda_runtime.h"
#include "kernels/float_types.h"

// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses): CUDA's own names, and types as arguments
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

#define threadIdx (::shardora::emulation::this_thread().index)
#define blockIdx (::shardora::emulation::this_block().index)
#define blockDim (::shardora::emulation::this_block().threads)
#define gridDim (::shardora::emulation::this_block().blocks)

// A lambda's type is another one at every place and in every instance of a template: the name of the array.
#define SHARDORA_SHARED(T, name, count)                                                    \
  T(&name)                                                                                 \
  [static_cast<std::size_t>(count)] = *static_cast<T(*)[static_cast<std::size_t>(count)]>( \
      ::shardora::emulation::block_array([] {}, sizeof(T) * static_cast<std::size_t>(count)))
#define SHARDORA_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::shardora::emulation::dynamic_shared())
// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)

namespace shardora::emulation {

struct Thread {
  uint3 index{};
};
struct Block {
  uint3 index{};
  dim3 threads, blocks;
};
const Thread& this_thread();
const Block& this_block();

void* block_array(std::type_index place, std::size_t bytes);
template <class Place>
void* block_array(Place, std::size_t bytes) {
  return block_array(std::type_index(typeid(Place)), bytes);
}
void* dynamic_shared();

void block_barrier();
void warp_barrier(unsigned mask);
// The 8 bytes that lane `source` of this warp gives; `mask` names the lanes that call.
std::uint64_t exchange(unsigned mask, std::uint64_t mine, int source);

// A copy of this thread that is made at its cp_async_wait_all().
void copy_later(void* to, const void* from, std::size_t bytes);
void finish_copies();

// Runs every block of the grid, one after another in random order, each with its fibers. `body` is one thread.
void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
// The order of threads and blocks of the next launches.
void set_seed(std::uint64_t seed);

}  // namespace shardora::emulation

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's own names
inline void __syncthreads() { shardora::emulation::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffU) { shardora::emulation::warp_barrier(mask); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t) && std::is_trivially_copyable_v<T>);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = shardora::emulation::exchange(mask, bits, source);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ lanes);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int lanes) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return __shfl_sync(mask, value, lane + lanes < 32 ? lane + lanes : lane);
}

// Where the device has a faster way, the host has the plain one.
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
template <class T>
T __ldg(const T* address) {
  return *address;
}
// NOLINTEND(bugprone-reserved-identifier)

namespace shardora::cuda {

inline std::uint16_t bf16_bits(float value) { return bf16_from_float(value); }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t,
            Arguments&&... arguments) {
  emulation::run(grid, block, shared_bytes, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace shardora::cuda
