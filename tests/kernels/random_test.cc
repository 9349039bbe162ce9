// Random numbers: Philox against its published vectors, streams that do not depend on how work is split, dropout.
#include "kernels/random.h"

#include <set>

#include "kernels/philox.h"
#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::Vector;

class Random : public support::KernelTest {
 protected:
  std::vector<float> filled(RandomFill op, Shape shape, bool normal) {
    op.out = unwritten(shape);
    normal ? fill_normal(*backend_, op) : fill_uniform(*backend_, op);
    return read(op.out);
  }
};

std::vector<std::uint32_t> words(philox::Words counter, std::uint64_t key) {
  const philox::Words result = philox::random_words(counter, key);
  return {result.w0, result.w1, result.w2, result.w3};
}

TEST_F(Random, PhiloxMatchesThePublishedVectors) {
  using Expected = std::vector<std::uint32_t>;
  EXPECT_EQ(words({0, 0, 0, 0}, 0), (Expected{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(words({~0U, ~0U, ~0U, ~0U}, ~std::uint64_t{0}), (Expected{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
            (Expected{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST_F(Random, KeysOfDifferentStreamsDiffer) {
  std::set<std::uint64_t> keys;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    keys.insert(random_key(seed, "dropout").value);
    keys.insert(random_key(seed, "init", "ab").value);
    keys.insert(random_key(seed, "initab").value);
    keys.insert(random_key(seed, "inita", "b").value);
    for (std::uint64_t step = 0; step < 3; ++step) keys.insert(random_key(random_key(seed, "dropout"), step).value);
  }
  EXPECT_EQ(keys.size(), 3 * 7);
}

TEST_F(Random, BelowIsUniformAndStaysBelow) {
  const RandomKey key = random_key(1, "shuffle");
  std::vector<int> counts(7);
  for (std::uint64_t i = 0; i < 70000; ++i) {
    const std::uint64_t value = random_below(key, i, 7);
    ASSERT_LT(value, 7);
    ++counts[value];
  }
  for (const int count : counts) EXPECT_NEAR(count, 10000, 5 * 93);  // five standard deviations
  EXPECT_EQ(random_below(key, 3, 1), 0);
  // Bounds just above a power of two reject half the draws.
  const std::uint64_t large = (std::uint64_t{1} << 63U) + 1;
  for (std::uint64_t i = 0; i < 1000; ++i) EXPECT_LT(random_below(key, i, large), large);
}

TEST_F(Random, BlockOfAFillIsTheSliceOfTheWhole) {
  const RandomKey key = random_key(2, "init", "layers.0.A");
  for (const bool normal : {false, true}) {
    const RandomFill whole{.key = key, .logical_columns = 127, .low = -0.5, .high = 0.75};
    const std::vector<float> all = filled(whole, {17, 127}, normal);
    for (const auto& [first_row, rows, first_column, columns] :
         {std::array<std::int64_t, 4>{0, 17, 0, 127}, {3, 5, 0, 127}, {0, 17, 31, 33}, {16, 1, 126, 1}, {5, 0, 2, 9}}) {
      RandomFill block = whole;
      block.first_row = first_row;
      block.first_column = first_column;
      const std::vector<float> part = filled(block, {rows, columns}, normal);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          ASSERT_EQ(part[index(i * columns + j)], all[index((first_row + i) * 127 + first_column + j)]);
        }
      }
    }
  }
}

TEST_F(Random, UniformHasItsMeanVarianceAndBounds) {
  const std::vector<float> values =
      filled({.key = random_key(3, "u"), .logical_columns = 1000, .low = -2, .high = 3}, {100, 1000}, false);
  double mean = 0;
  double square = 0;
  for (const float value : values) {
    ASSERT_GE(value, -2);
    ASSERT_LT(value, 3);
    mean += value / 1e5;
    square += value * value / 1e5;
  }
  EXPECT_NEAR(mean, 0.5, 0.02);
  EXPECT_NEAR(square - mean * mean, 25.0 / 12, 0.03);
}

TEST_F(Random, UniformNeverReachesItsUpperBound) {
  // From 0x1p24 upward floats are two apart: half of the values would round to the bound.
  for (const float value :
       filled({.key = random_key(4, "u"), .logical_columns = 1000, .low = 0x1p24F, .high = 0x1p24F + 2}, {1, 1000},
              false)) {
    ASSERT_LT(value, 0x1p24F + 2);
  }
}

TEST_F(Random, NormalHasItsMomentsAndTails) {
  const std::vector<float> values =
      filled({.key = random_key(5, "n"), .logical_columns = 1000, .low = 1, .high = 2}, {200, 1000}, true);
  double mean = 0;
  double square = 0;
  double fourth = 0;
  int beyond_two = 0;
  for (const float value : values) {
    const double z = (value - 1.0) / 2.0;
    mean += z / 2e5;
    square += z * z / 2e5;
    fourth += z * z * z * z / 2e5;
    beyond_two += std::abs(z) > 2 ? 1 : 0;
  }
  EXPECT_NEAR(mean, 0, 0.012);
  EXPECT_NEAR(square, 1, 0.016);
  EXPECT_NEAR(fourth, 3, 0.12);
  EXPECT_NEAR(beyond_two / 2e5, 0.0455, 0.0025);
}

}  // namespace
}  // namespace shardora
