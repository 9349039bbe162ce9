// Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): 128 random bits as a pure
// function of a 128-bit counter and a 64-bit key. Who uses which counter:
//
//   random_bits, fills   (index low, index high, attempt, 0)
//   dropout              (sequence low, sequence high, position, feature / 4), one word for each of four features
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "kernels/inline.h"

namespace shardora::philox {

struct Words {
  std::uint32_t w0, w1, w2, w3;
};

SHARDORA_INLINE std::uint32_t low_half(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
SHARDORA_INLINE std::uint32_t high_half(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32U); }

SHARDORA_INLINE Words round(Words c, std::uint32_t key0, std::uint32_t key1) {
  const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * c.w0;
  const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * c.w2;
  return {high_half(product1) ^ c.w1 ^ key0, low_half(product1), high_half(product0) ^ c.w3 ^ key1, low_half(product0)};
}

// Written out by the pack: a loop's pragmas differ between compilers.
template <std::uint32_t... kRounds>
SHARDORA_INLINE Words rounds(Words counter, std::uint32_t key0, std::uint32_t key1,
                             std::integer_sequence<std::uint32_t, kRounds...>) {
  ((counter = round(counter, key0 + kRounds * 0x9E3779B9U, key1 + kRounds * 0xBB67AE85U)), ...);
  return counter;
}
SHARDORA_INLINE Words random_words(Words counter, std::uint64_t key) {
  return rounds(counter, low_half(key), high_half(key), std::make_integer_sequence<std::uint32_t, 10>{});
}

SHARDORA_INLINE Words words_at(std::uint64_t key, std::uint64_t index, std::uint32_t attempt = 0) {
  return random_words({low_half(index), high_half(index), attempt, 0}, key);
}

// In [low, high), from the upper 24 bits; rounding must not reach high.
SHARDORA_INLINE float uniform(Words words, float low, float high, float below_high) {
  const float unit = static_cast<float>(words.w0 >> 8U) * 0x1p-24F;
  const float value = low + (high - low) * unit;
  return value < high ? value : below_high;
}

// Box-Muller in float64, so that host and device round to the same float almost always.
SHARDORA_INLINE float normal(Words words, float mean, float deviation) {
  constexpr double kTwoPi = 6.283185307179586476925;
  const double radius = std::sqrt(-2.0 * std::log((words.w0 + 1.0) * 0x1p-32));  // the argument is in (0, 1]
  const double z = radius * std::cos(kTwoPi * (words.w1 * 0x1p-32));
  return static_cast<float>(mean + deviation * z);
}

// A feature is dropped where its word is below the threshold.
SHARDORA_INLINE std::uint32_t drop_threshold(float probability) {
  return static_cast<std::uint32_t>(static_cast<double>(probability) * 0x1p32);  // probability < 1 fits
}

}  // namespace shardora::philox
