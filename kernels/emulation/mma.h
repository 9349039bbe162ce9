// The plain twin of kernels/cuda/mma.h: lanes show each other their registers, and each computes what the device would
// leave in its own. A copy to shared memory is made when it is waited for, so that a missing wait is seen.
#pragma once

#include "kernels/cuda/mma.h"

namespace shardora::cuda {

inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

inline float power_of_two(float x) { return std::exp2(x); }

inline float half_of(std::uint32_t pair, int half) {
  return float_from_bf16(static_cast<std::uint16_t>(pair >> (16 * half)));
}
inline std::uint32_t pair_of(float low, float high) {
  return bf16_from_float(low) | std::uint32_t{bf16_from_float(high)} << 16U;
}

inline void multiply_add(MatrixC& c, const MatrixA& a, const MatrixB& b) {
  constexpr int kMostThreads = 1024;
  SHARDORA_SHARED(MatrixA, shown_a, kMostThreads);
  SHARDORA_SHARED(MatrixB, shown_b, kMostThreads);
  const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) - lane;
  shown_a[threadIdx.x] = a;
  shown_b[threadIdx.x] = b;
  __syncwarp();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int holder = k % 8 / 2, upper = k / 8;
      const MatrixA& a_there = shown_a[warp + row % 8 * 4 + holder];
      const MatrixB& b_there = shown_b[warp + column * 4 + holder];
      c.values[i] += half_of(a_there.registers[row / 8 + 2 * upper], k % 2) * half_of(b_there.registers[upper], k % 2);
    }
  }
  __syncwarp();
}

// element(matrix's rows, g, t): the register of a lane.
template <class Element>
FourMatrices load_by_rows(const BF16* row, Element element) {
  constexpr int kMostThreads = 1024;
  SHARDORA_SHARED(const BF16*, shown, kMostThreads);
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) throw std::logic_error("emulated ldmatrix: an odd address");
  const int lane = lane_of_warp(), warp = static_cast<int>(threadIdx.x) - lane;
  shown[threadIdx.x] = row;
  __syncwarp();
  FourMatrices to;
  for (int m = 0; m < 4; ++m) to.registers[m] = element(&shown[warp + 8 * m], lane / 4, lane % 4);
  __syncwarp();
  return to;
}
inline FourMatrices load_matrices(const BF16* row) {
  return load_by_rows(row, [](const BF16* const* rows, int g, int t) {
    return rows[g][2 * t].bits | std::uint32_t{rows[g][2 * t + 1].bits} << 16U;
  });
}
inline FourMatrices load_matrices_transposed(const BF16* row) {
  return load_by_rows(row, [](const BF16* const* rows, int g, int t) {
    return rows[2 * t][g].bits | std::uint32_t{rows[2 * t + 1][g].bits} << 16U;
  });
}

inline void copy_to_shared(BF16* to, const BF16* from) { emulation::copy_later(to, from, 16); }
inline void finish_copies() { emulation::finish_copies(); }

}  // namespace shardora::cuda
