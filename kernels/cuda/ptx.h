// PTX instructions that CUDA C++ has no intrinsic for: tensor cores, and copies from global to shared memory that run
// on while the thread goes on. kernels/emulation/ptx.h has the same functions for the host emulation.
#pragma once

#include "kernels/cuda/fragments.h"

namespace shardora::cuda {

// c += a b. All lanes of the warp call.
__device__ __forceinline__ void mma_m16n8k16(FragmentC& c, const FragmentA& a, const FragmentB& b) {
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
__device__ __forceinline__ FragmentX4 ldmatrix_x4(const void* row) {
  FragmentX4 to;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.registers[0]), "=r"(to.registers[1]), "=r"(to.registers[2]), "=r"(to.registers[3])
               : "r"(shared_address(row))
               : "memory");
  return to;
}
// The same of the transposed matrices: elements g of rows 2t, 2t+1.
__device__ __forceinline__ FragmentX4 ldmatrix_x4_trans(const void* row) {
  FragmentX4 to;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to.registers[0]), "=r"(to.registers[1]), "=r"(to.registers[2]), "=r"(to.registers[3])
               : "r"(shared_address(row))
               : "memory");
  return to;
}

// 2^x as the device has it, to 2^-22; results that would be subnormal are 0.
__device__ __forceinline__ float exp2_approx(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// Two numbers rounded to bfloat16, as one register.
__device__ __forceinline__ std::uint32_t pack_bf16x2(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// 16 bytes; both addresses multiples of 16. They have arrived after cp_async_wait_all() of this thread.
__device__ __forceinline__ void cp_async_16(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
__device__ __forceinline__ void cp_async_wait_all() { asm volatile("cp.async.wait_all;" ::: "memory"); }

}  // namespace shardora::cuda
