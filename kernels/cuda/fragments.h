// Small bfloat16 matrices that a warp holds in its registers, for the tensor cores' products (mma_m16n8k16).
//
// Lane l holds, with g = l / 4 and t = l % 4 (two elements a register, the first in the lower half):
//   FragmentA  16 x 16   0: row g, columns 2t, 2t+1   1: row g + 8   2: row g, columns 2t+8, 2t+9   3: row g + 8
//   FragmentB  16 x 8    0: rows 2t, 2t+1 of column g      1: rows 2t+8, 2t+9
//   FragmentC  16 x 8    0, 1: row g, columns 2t, 2t+1     2, 3: row g + 8
#pragma once

#include <cstdint>

namespace shardora::cuda {

struct FragmentA {
  std::uint32_t registers[4];
};
struct FragmentB {
  std::uint32_t registers[2];
};
struct FragmentC {
  float values[4];
};
struct FragmentX4 {  // 8 x 8 each
  std::uint32_t registers[4];
};

}  // namespace shardora::cuda
