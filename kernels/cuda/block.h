// Sums and maxima over the threads of a warp and of a block, in a fixed order: the same bits each time.
#pragma once

#include "kernels/cuda/platform.h"

namespace shardora::cuda {

inline constexpr int kWarp = 32;

struct SumOf {
  template <class T>
  __device__ static T join(T a, T b) {
    return a + b;
  }
  template <class T>
  __device__ static T neutral() {
    return T(0);
  }
};
struct MaxOf {
  // NaN stays NaN, as on the CPU.
  __device__ static float join(float a, float b) { return a > b || a != a ? a : b; }
  template <class T>
  __device__ static T neutral() {
    return T(-INFINITY);
  }
};

// Over the 32 lanes of a warp, all of which call; every lane gets the result.
template <class Joined, class T>
__device__ T warp_reduce(T value) {
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    value = Joined::join(value, __shfl_xor_sync(0xffffffffU, value, lanes));
  }
  return value;
}

// Over a block of one dimension, a multiple of 32 threads, all of which call; every thread gets the result. Ends in a
// barrier that lets it be called again at once.
template <class Joined, class T>
__device__ T block_reduce(T value) {
  SHARDORA_SHARED(T, of_warp, kWarp);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_reduce<Joined>(value);
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  value = warp_reduce<Joined>(lane < warps ? of_warp[lane] : Joined::template neutral<T>());
  __syncthreads();
  return value;
}

// Threads of a block that takes `items` in strides: whole warps, and none without work but for the first.
inline unsigned block_threads(std::int64_t items, int most) {
  const std::int64_t wanted = (items + kWarp - 1) / kWarp * kWarp;
  return static_cast<unsigned>(wanted < kWarp ? kWarp : wanted < most ? wanted : most);
}

}  // namespace shardora::cuda
