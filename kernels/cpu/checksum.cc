#include "kernels/checksum.h"

#include <cstring>

#include "kernels/cpu/cpu.h"

namespace shardora::cpu {

std::uint64_t checksum_words(TensorView view) {
  SHARDORA_CHECK(reinterpret_cast<std::uintptr_t>(view.data) % sizeof(std::uint32_t) == 0);
  const auto* const words = static_cast<const std::uint32_t*>(view.data);
  const std::int64_t count = view.bytes() / 4, rest = view.bytes() % 4;
  std::uint64_t sum = 0;
#pragma omp parallel for simd schedule(static) reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) sum += formulas::checksum_term(words[i], i);
  std::uint32_t last = 0;
  if (rest > 0) std::memcpy(&last, words + count, static_cast<std::size_t>(rest));
  return sum + formulas::checksum_term(last, count);
}

}  // namespace shardora::cpu
