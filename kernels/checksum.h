// A checksum of memory, the same on every backend at any number of threads, for finding what has changed by itself.
//
//   sum = sum_i w[i] * m(i) mod 2^64,  m(i) = (2654435761 i mod 2^32) | 1
//
// over the 32-bit words of the view, the last one filled up with zeros. One word that changes always changes the sum:
// its difference times m(i) is neither 0 nor as much as 2^64.
#pragma once

#include "kernels/backend.h"

namespace shardora {

// Of a view that begins at a multiple of 4 bytes. The host waits for the result.
std::uint64_t checksum_words(Backend& backend, TensorView view);

namespace formulas {
SHARDORA_INLINE std::uint64_t checksum_term(std::uint32_t word, std::int64_t i) {
  return std::uint64_t{word} * ((static_cast<std::uint32_t>(i) * 2654435761U) | 1U);
}
}  // namespace formulas

}  // namespace shardora
