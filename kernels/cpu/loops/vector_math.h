// exp without branches or calls, so that a loop over it becomes vector code. Relative error below 2e-7.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

constexpr float kLowestExponent = -86.6F;  // above 2^-125; results below are 0, since subnormal arithmetic is slow

// 2^(bias - 127) exp(x), where that is a normal float: exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2.
inline float biased_exp(float x, std::uint32_t bias) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts
  float p = 1.9875691500e-4F;                                   // Cephes' polynomial for exp(r) = 1 + r + r^2 p(r)
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = p * (r * r) + r + 1.0F;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(kRound) + bias;
  return e * std::bit_cast<float>(exponent << 23);
}

// exp(-inf) is 0, exp(NaN) is NaN.
inline float fast_exp(float x) {
  constexpr float kHighest = 88.7228394F;
  const float clamped = x < kLowestExponent ? kLowestExponent : (x > kHighest ? kHighest : x);
  const float result = biased_exp(clamped, 126) * 2.0F;  // 2^128 itself is not a float
  const float bounded = x > kHighest ? std::numeric_limits<float>::infinity() : result;
  return x < kLowestExponent ? 0.0F : bounded;
}

// The same bits as fast_exp for x <= 1, as a softmax has them once its maximum is taken off; any number beyond.
inline float fast_exp_up_to_one(float x) {
  const float clamped = x < kLowestExponent ? kLowestExponent : x;
  const float result = biased_exp(clamped, 127);
  return x < kLowestExponent ? 0.0F : result;
}

}  // namespace
}  // namespace shardora::cpu
