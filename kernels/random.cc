// Keys and whole numbers from the counter-based generator; the fills are each backend's own.
#include "kernels/random.h"

#include "kernels/philox.h"

namespace shardora {
namespace {

__extension__ using Wide = unsigned __int128;

// The finaliser of splitmix64: every input bit reaches every output bit.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

// FNV-1a from a mixed start; the length separates ("ab", "c") from ("a", "bc").
std::uint64_t absorb(std::uint64_t state, std::string_view text) {
  state = mix(state ^ text.size());
  for (const char letter : text) state = (state ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
  return mix(state);
}

std::uint64_t first_bits(philox::Words words) { return (std::uint64_t{words.w1} << 32U) | words.w0; }

}  // namespace

RandomKey random_key(std::uint64_t seed, std::string_view purpose, std::string_view name) {
  return {absorb(absorb(mix(seed), purpose), name)};
}

RandomKey random_key(RandomKey key, std::uint64_t index) { return {mix(mix(key.value) ^ mix(~index))}; }

std::uint64_t random_bits(RandomKey key, std::uint64_t index) { return first_bits(philox::words_at(key.value, index)); }

// Multiply and take the upper half; the few products that would favour some results are drawn again (Lemire 2019).
std::uint64_t random_below(RandomKey key, std::uint64_t index, std::uint64_t bound) {
  SHARDORA_CHECK(bound >= 1);
  const std::uint64_t uneven = (0 - bound) % bound;
  for (std::uint32_t attempt = 0;; ++attempt) {
    const Wide product = Wide{first_bits(philox::words_at(key.value, index, attempt))} * bound;
    if (static_cast<std::uint64_t>(product) >= uneven) return static_cast<std::uint64_t>(product >> 64U);
  }
}

}  // namespace shardora
