// The functions of kernels/cuda/ptx.h on the host: lanes show each other their registers, and each computes what the
// device would leave in its own. An asynchronous copy is made when it is waited for, so that a missing wait is seen.
#pragma once

#include "kernels/cuda/fragments.h"
#include "kernels/emulation/emulation.h"
#include "kernels/float_types.h"

namespace shardora::cuda {

inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

inline float exp2_approx(float x) { return std::exp2(x); }

inline float half_of(std::uint32_t pair, int half) {
  return float_from_bf16(static_cast<std::uint16_t>(pair >> (16 * half)));
}
inline std::uint32_t pack_bf16x2(float low, float high) {
  return bf16_from_float(low) | std::uint32_t{bf16_from_float(high)} << 16U;
}

inline void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  constexpr int kMostThreads = 1024;
  SHARDORA_SHARED(FragmentA, shown_a, kMostThreads);
  SHARDORA_SHARED(FragmentB, shown_b, kMostThreads);
  const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) - lane;
  shown_a[threadIdx.x] = a;
  shown_b[threadIdx.x] = b;
  __syncwarp();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int holder = k % 8 / 2, upper = k / 8;
      const FragmentA& a_there = shown_a[warp + row % 8 * 4 + holder];
      const FragmentB& b_there = shown_b[warp + column * 4 + holder];
      c.values[i] += half_of(a_there.registers[row / 8 + 2 * upper], k % 2) * half_of(b_there.registers[upper], k % 2);
    }
  }
  __syncwarp();
}

// element(matrix's rows, g, t): the register of a lane.
template <class Element>
FragmentX4 load_by_rows(const void* row, Element element) {
  constexpr int kMostThreads = 1024;
  SHARDORA_SHARED(const std::uint16_t*, shown, kMostThreads);
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) throw std::logic_error("emulated ldmatrix: an odd address");
  const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) - lane;
  shown[threadIdx.x] = static_cast<const std::uint16_t*>(row);
  __syncwarp();
  FragmentX4 to;
  for (int m = 0; m < 4; ++m) to.registers[m] = element(&shown[warp + 8 * m], lane / 4, lane % 4);
  __syncwarp();
  return to;
}
inline FragmentX4 ldmatrix_x4(const void* row) {
  return load_by_rows(row, [](const std::uint16_t* const* rows, int g, int t) {
    return rows[g][2 * t] | std::uint32_t{rows[g][2 * t + 1]} << 16U;
  });
}
inline FragmentX4 ldmatrix_x4_trans(const void* row) {
  return load_by_rows(row, [](const std::uint16_t* const* rows, int g, int t) {
    return rows[2 * t][g] | std::uint32_t{rows[2 * t + 1][g]} << 16U;
  });
}

inline void cp_async_16(void* to, const void* from) { emulation::copy_later(to, from, 16); }
inline void cp_async_wait_all() { emulation::finish_copies(); }

}  // namespace shardora::cuda
