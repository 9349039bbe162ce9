// SHARDORA_INLINE: for small functions that both backends include. Always inlined, because kernels/cpu may be compiled
// for several instruction sets in one program and must not share a copy made for another one.
#pragma once

#if defined(__CUDACC__)
#define SHARDORA_INLINE __host__ __device__ __forceinline__
#else
#define SHARDORA_INLINE [[gnu::always_inline]] inline
#endif
