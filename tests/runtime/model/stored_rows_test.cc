#include "runtime/model/stored_rows.h"

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

// 4 Mi elements are a block: these rows need three, the last one short.
TEST(StoredRows, GiveEveryRowOnceInBlocksOfBoundedSize) {
  constexpr std::int64_t kRows = 21, kColumns = 400'001;
  const TemporaryFolder folder;
  HostTensor tensor{.dtype = DType::kBF16, .shape = {kRows, kColumns}};
  tensor.bytes.resize(kRows * kColumns * 2);
  const auto element = [](std::int64_t i) { return static_cast<std::uint16_t>(0x3f00 + i % 97); };
  for (std::int64_t i = 0; i < kRows * kColumns; ++i) {
    const std::uint16_t bits = element(i);
    std::memcpy(tensor.bytes.data() + 2 * i, &bits, 2);
  }
  write_safetensors(folder / "w.safetensors", {{"w", tensor}}, {});
  const SafetensorsFile file(folder / "w.safetensors");
  const std::unique_ptr<Backend> backend = make_backend(BackendKind::kCpu, {.threads = 1});
  StoredRows stored(*backend, file, {"w", {kRows, kColumns}});
  EXPECT_LE(stored.block_rows() * kColumns, 1 << 22);
  std::int64_t rows = 0, wrong = 0;
  for (; rows < kRows; rows += stored.block_rows()) {
    const TensorView block = stored.read(rows);
    EXPECT_EQ(block.size(0), std::min(stored.block_rows(), kRows - rows));
    const std::span<const float> values = block.span<float>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint32_t bits = std::uint32_t{element(rows * kColumns + static_cast<std::int64_t>(i))} << 16U;
      wrong += std::bit_cast<float>(bits) != values[i] ? 1 : 0;
    }
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(rows, stored.block_rows());
}

TEST(StoredRows, OfAVectorAreItsElements) {
  const TemporaryFolder folder;
  HostTensor tensor{.dtype = DType::kF32, .shape = {3}};
  tensor.bytes.resize(12);
  std::ranges::copy(std::vector<float>{1, -2, 3}, tensor.f32().begin());
  write_safetensors(folder / "n.safetensors", {{"n", tensor}}, {});
  const SafetensorsFile file(folder / "n.safetensors");
  const std::unique_ptr<Backend> backend = make_backend(BackendKind::kCpu, {.threads = 1});
  const TensorView block = StoredRows(*backend, file, {"n", {3}}).read(0);
  EXPECT_EQ(block.shape, Shape({3, 1}));
}

}  // namespace
}  // namespace shardora
