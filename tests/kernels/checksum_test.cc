#include "kernels/checksum.h"

#include <cstring>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

class Checksum : public support::KernelTest {
 protected:
  // Of `bytes` in memory of the backend.
  std::uint64_t of(std::vector<std::uint8_t> bytes) {
    const auto size = static_cast<std::int64_t>(bytes.size());
    const DeviceBuffer memory(*backend_, size);
    const TensorView view{memory.data(), DType::kU8, {size}};
    backend_->copy_from_host(view, {bytes.data(), DType::kU8, {size}});
    backend_->synchronize();
    return checksum_words(*backend_, view);
  }
};

std::vector<std::uint8_t> some_bytes(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  return bytes;
}

TEST_F(Checksum, IsTheSumOfItsDefinition) {
  for (const std::size_t count : {0U, 1U, 4U, 7U, 68U, 127U, 20003U}) {
    const std::vector<std::uint8_t> bytes = some_bytes(count);
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i * 4 < count; ++i) {
      std::uint32_t word = 0;
      std::memcpy(&word, bytes.data() + i * 4, std::min<std::size_t>(4, count - i * 4));
      const auto factor = static_cast<std::uint32_t>((i * 2654435761ULL) % 4294967296ULL) | 1U;
      expected += std::uint64_t{word} * factor;
    }
    EXPECT_EQ(of(bytes), expected) << count;
  }
}

TEST_F(Checksum, EveryBitCounts) {
  const std::vector<std::uint8_t> bytes = some_bytes(67);
  const std::uint64_t before = of(bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::vector<std::uint8_t> flipped = bytes;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_NE(of(flipped), before) << bit;
  }
}

}  // namespace
}  // namespace shardora
