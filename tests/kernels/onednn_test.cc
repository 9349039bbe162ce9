// Layouts of oneDNN's own: this machine's may be plain, others' are blocked and padded, so blocks are asked for by
// name.
#include "kernels/cpu/onednn.h"

#include <set>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using cpu::ElementOffsets;
using cpu::WeightGemm;
using cpu::WeightLayout;
using dnnl::memory;
using support::index;
using support::Vector;

constexpr std::int64_t kInner = 17, kColumns = 70;

WeightLayout tagged(memory::format_tag tag) {
  return WeightLayout(memory::desc({kInner, kColumns}, memory::data_type::f32, tag));
}

class OneDnnLayout : public testing::TestWithParam<memory::format_tag> {};

TEST_P(OneDnnLayout, EveryElementHasItsOwnPlaceWithinTheMemory) {
  const WeightLayout layout = tagged(GetParam());
  const ElementOffsets at = layout.offsets();
  std::set<std::int64_t> places;
  for (const std::int64_t row : at.rows) {
    for (const std::int64_t column : at.columns) places.insert(row + column);
  }
  EXPECT_EQ(places.size(), index(kInner * kColumns));
  EXPECT_GE(*places.begin(), 0);
  EXPECT_LT(*places.rbegin() * 4, layout.bytes());
}

TEST_P(OneDnnLayout, ProductsReadTheElementsWhereTheOffsetsPutThem) {
  const WeightLayout layout = tagged(GetParam());
  const ElementOffsets at = layout.offsets();
  const Vector w = support::random_vector(kInner * kColumns, 1);
  const Vector x = support::random_vector(3 * kInner, 2);
  std::vector<float> packed(index(layout.bytes()) / sizeof(float));
  Vector expected(index(3 * kColumns), 0.5);
  for (std::int64_t k = 0; k < kInner; ++k) {
    for (std::int64_t n = 0; n < kColumns; ++n) {
      const double value = w[index(k * kColumns + n)];
      packed[index(at.rows[index(k)] + at.columns[index(n)])] = static_cast<float>(value);
      for (std::int64_t m = 0; m < 3; ++m) expected[index(m * kColumns + n)] += x[index(m * kInner + k)] * value;
    }
  }
  const std::vector<float> left(x.begin(), x.end());
  std::vector<float> y(expected.size(), 0.5F);
  cpu::GemmCache cache;
  WeightGemm(cache, layout, kInner, kColumns, packed.data()).run(3, left.data(), y.data(), true);
  support::expect_close(y, expected, support::kFp32, "y");
}

INSTANTIATE_TEST_SUITE_P(Plain, OneDnnLayout, testing::Values(memory::format_tag::ab, memory::format_tag::ba));
INSTANTIATE_TEST_SUITE_P(Blocked, OneDnnLayout,
                         testing::Values(memory::format_tag::BA16a16b, memory::format_tag::BA16a48b,
                                         memory::format_tag::BA16a64b, memory::format_tag::BA16a16b2a,
                                         memory::format_tag::AB16b16a));

TEST(OneDnn, WeightsOfOneLayoutShareTheirPrimitives) {
  std::vector<float> ones(6, 1.0F), twos(6, 2.0F), x(8, 1.0F), y(12);
  cpu::GemmCache cache;
  const WeightLayout layout = WeightLayout::strided(2, 3, 3, 1);
  const WeightGemm first(cache, layout, 2, 3, ones.data()), second(cache, layout, 2, 3, twos.data());
  first.run(4, x.data(), y.data(), false);
  EXPECT_EQ(y, std::vector<float>(12, 2.0F));
  second.run(4, x.data(), y.data(), false);
  EXPECT_EQ(y, std::vector<float>(12, 4.0F));
  EXPECT_EQ(cache.size(), 1U);
  second.run(4, x.data(), y.data(), true);
  EXPECT_EQ(y, std::vector<float>(12, 8.0F));
  WeightGemm(cache, WeightLayout::strided(2, 3, 1, 2), 2, 3, ones.data()).run(4, x.data(), y.data(), false);
  EXPECT_EQ(y, std::vector<float>(12, 2.0F));
  EXPECT_EQ(cache.size(), 3U);
}

TEST(OneDnn, KeepsThePrimitivesThatWereUsedLast) {
  constexpr auto kMost = static_cast<std::int64_t>(cpu::GemmCache::kMost);
  std::vector<float> w(6, 1.0F), x(index(kMost + 9) * 2, 1.0F), y(index(kMost + 9) * 3);
  cpu::GemmCache cache;
  const WeightGemm product(cache, WeightLayout::strided(2, 3, 3, 1), 2, 3, w.data());
  for (std::int64_t m = 1; m <= kMost + 9; ++m) product.run(m, x.data(), y.data(), false);
  EXPECT_EQ(cache.size(), cpu::GemmCache::kMost);
  product.run(kMost + 9, x.data(), y.data(), false);
  EXPECT_EQ(cache.size(), cpu::GemmCache::kMost);
  std::fill(y.begin(), y.end(), 0.0F);
  product.run(1, x.data(), y.data(), false);  // made anew
  EXPECT_EQ(y[2], 2.0F);
  EXPECT_EQ(y[3], 0.0F);
}

}  // namespace
}  // namespace shardora
