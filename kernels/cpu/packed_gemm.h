// Products whose second factor is packed into panels on the way (loops/packed_gemm.cc): narrow ones, with a side as
// short as an adapter's rank, to which oneDNN gives half-empty vectors and memory allocated in each call; and those
// with weights stored in bfloat16, multiplied in fp32. Nothing is allocated there.
#pragma once

#include <cstdint>

namespace shardora::cpu {

constexpr std::int64_t kNarrow = 64;  // longest short side of a narrow product

// y[m,n] (=|+=) x[m,k] * w[k,n], element (i, j) of w at w[i * k_stride + j * n_stride]; m, n, k >= 1.
struct Bf16Gemm {
  const float* x;
  const std::uint16_t* w;
  std::int64_t k_stride, n_stride;
  float* y;
  std::int64_t m, n, k;
  bool accumulate;
};

}  // namespace shardora::cpu
