// Tensor cores: products of small bfloat16 matrices that a warp holds in its registers, fp32 sums; and copies from
// global to shared memory that run on while the thread goes on. What needs inline assembly stands here, and has a plain
// twin for the emulation that keeps to the same registers.
//
// Lane l holds, with g = l / 4 and t = l % 4 (two elements a register, the first in the lower half):
//   MatrixA  16 x 16   0: row g, columns 2t, 2t+1   1: row g + 8   2: row g, columns 2t+8, 2t+9   3: row g + 8
//   MatrixB  16 x 8    0: rows 2t, 2t+1 of column g      1: rows 2t+8, 2t+9
//   MatrixC  16 x 8    0, 1: row g, columns 2t, 2t+1     2, 3: row g + 8
#pragma once

#include "kernels/cuda/elements.h"

namespace shardora::cuda {

struct MatrixA {
  std::uint32_t registers[4];
};
struct MatrixB {
  std::uint32_t registers[2];
};
struct MatrixC {
  float values[4];
};
struct FourMatrices {  // 8 x 8 each
  std::uint32_t registers[4];
};

}  // namespace shardora::cuda

#ifdef SHARDORA_EMULATED
#include "kernels/emulation/mma.h"
#else

namespace shardora::cuda {

// c += a b. All lanes of the warp call.
__device__ __forceinline__ void multiply_add(MatrixC& c, const MatrixA& a, const MatrixB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c.values[0]), "+f"(c.values[1]), "+f"(c.values[2]), "+f"(c.values[3])
      : "r"(a.registers[0]), "r"(a.registers[1]), "r"(a.registers[2]), "r"(a.registers[3]), "r"(b.registers[0]),
        "r"(b.registers[1]));
}

__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Four matrices of shared memory; lane l says where row l % 8 of matrix l / 8 begins, at a multiple of 16 bytes. It
// gets elements 2t, 2t+1 of row g of each. All lanes of the warp call.
__device__ __forceinline__ FourMatrices load_matrices(const BF16* row) {
  FourMatrices to;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.registers[0]), "=r"(to.registers[1]), "=r"(to.registers[2]), "=r"(to.registers[3])
               : "r"(shared_address(row))
               : "memory");
  return to;
}
// The same of the transposed matrices: elements g of rows 2t, 2t+1.
__device__ __forceinline__ FourMatrices load_matrices_transposed(const BF16* row) {
  FourMatrices to;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.registers[0]), "=r"(to.registers[1]), "=r"(to.registers[2]), "=r"(to.registers[3])
               : "r"(shared_address(row))
               : "memory");
  return to;
}

// 2^x as the device has it, to 2^-22; results that would be subnormal are 0.
__device__ __forceinline__ float power_of_two(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// Two numbers rounded to bfloat16, as one register.
__device__ __forceinline__ std::uint32_t pair_of(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// 16 bytes; both addresses multiples of 16. They have arrived after finish_copies() of this thread.
__device__ __forceinline__ void copy_to_shared(BF16* to, const BF16* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
__device__ __forceinline__ void finish_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace shardora::cuda

#endif
