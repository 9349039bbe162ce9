// SHARDORA_INLINE: for small functions of arithmetic that every backend includes; SHARDORA_HOST_INLINE: for those that
// run on the host only. Always inlined, because kernels/cpu may be compiled for several instruction sets in one program
// and must not share a copy made for another one.
#pragma once

#define SHARDORA_HOST_INLINE [[gnu::always_inline]] inline

#if defined(__CUDACC__)
#define SHARDORA_INLINE __host__ __device__ __forceinline__
#else
#define SHARDORA_INLINE SHARDORA_HOST_INLINE
#endif
