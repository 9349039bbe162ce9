// exp without branches or calls, so that a loop over it becomes vector code. Relative error below 2e-7.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

// exp(x) = 2^n * exp(r) with n = round(x / ln 2), |r| <= ln 2 / 2. Results below 2^-125 are 0 (subnormal arithmetic is
// slow), exp(-inf) is 0, exp(NaN) is NaN.
inline float fast_exp(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
  constexpr float kLowest = -86.6F;      // above 2^-125
  constexpr float kHighest = 88.7228394F;
  const float clamped = x < kLowest ? kLowest : (x > kHighest ? kHighest : x);
  const float shifted = clamped * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts
  float p = 1.9875691500e-4F;  // Cephes' polynomial for exp(r) = 1 + r + r^2 p(r)
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = p * (r * r) + r + 1.0F;
  // 2^(n-1), then doubled: 2^128 itself is not a float.
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + 126U;
  const float power = std::bit_cast<float>(exponent << 23);
  const float result = e * power * 2.0F;
  const float bounded = x > kHighest ? std::numeric_limits<float>::infinity() : result;
  return x < kLowest ? 0.0F : bounded;
}

}  // namespace
}  // namespace shardora::cpu
