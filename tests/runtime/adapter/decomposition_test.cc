#include "runtime/adapter/decomposition.h"

#include <cmath>

#include "tests/runtime/adapter/small_layer.h"

namespace shardora::testing {
namespace {

constexpr std::int64_t kOut = SmallLayer::kOut, kIn = SmallLayer::kIn;
constexpr double kClose = 1e-6;  // V is fp32

WeightChange measured(const SmallLayer& layer, std::int64_t block_rows) {
  const std::unique_ptr<Backend> backend = make_backend(BackendKind::kCpu, {.threads = 1});
  const FoldedModule module = layer.module();
  Decomposition change(kOut, kIn, layer.output_axis);
  for (std::int64_t first = 0; first < kOut; first += block_rows) {
    const std::int64_t count = std::min(block_rows, kOut - first);
    std::vector<float> base = floats(layer.weight), tuned = base;
    const TensorView rows = view_of(std::span(tuned), {kOut, kIn}).rows(first, count);
    add_low_rank(*backend, module, first, rows);
    change.add(first, view_of(std::span(base), {kOut, kIn}).rows(first, count), rows);
  }
  return module.magnitude.empty() ? change.result() : change.result(module.magnitude);
}

// From W' itself, and the cosine from V: what the formulas say, without a sum of the program's.
WeightChange expected(const SmallLayer& layer) {
  const Vector v = layer.direction(), merged = layer.merged();
  const Vector ww = layer.products(layer.weight, layer.weight), vv = layer.products(v, v),
               wv = layer.products(layer.weight, v), mm = layer.products(merged, merged);
  WeightChange change;
  const auto count = static_cast<double>(layer.vectors());
  for (std::size_t j = 0; j < ww.size(); ++j) {
    change.magnitude += std::abs(std::sqrt(mm[j]) - std::sqrt(ww[j])) / count;
    change.direction += (1 - wv[j] / std::sqrt(ww[j] * vv[j])) / count;
    change.base_magnitude += std::sqrt(ww[j]) / count;
  }
  return change;
}

TEST(Decomposition, IsTheFormulaForBothAxesWithAndWithoutAMagnitude) {
  for (const bool by_output : {true, false}) {
    for (const bool dora : {true, false}) {
      const SmallLayer layer(by_output, dora);
      for (const std::int64_t block : {1, 3, 7}) {
        const WeightChange is = measured(layer, block), should = expected(layer);
        EXPECT_NEAR(is.magnitude, should.magnitude, kClose) << by_output << dora << block;
        EXPECT_NEAR(is.direction, should.direction, kClose) << by_output << dora << block;
        EXPECT_NEAR(is.base_magnitude, should.base_magnitude, kClose) << by_output << dora << block;
      }
    }
  }
}

WeightChange of_rows(std::vector<float> base, std::vector<float> tuned, const std::vector<float>& magnitudes = {}) {
  const Shape shape = {2, 2};
  Decomposition change(2, 2, true);
  change.add(0, view_of(std::span(base), shape), view_of(std::span(tuned), shape));
  return magnitudes.empty() ? change.result() : change.result(magnitudes);
}

TEST(Decomposition, OfKnownRowsIsKnown) {
  // The first row doubles, the second turns by a right angle: dM = (5 + 0) / 2, dD = (0 + 1) / 2.
  const WeightChange change = of_rows({3, 4, 0, 2}, {6, 8, 2, 0});
  EXPECT_DOUBLE_EQ(change.magnitude, 2.5);
  EXPECT_DOUBLE_EQ(change.direction, 0.5);
  EXPECT_DOUBLE_EQ(change.base_magnitude, 3.5);
  // A negative m turns nothing: the paper's magnitude is a norm.
  EXPECT_DOUBLE_EQ(of_rows({3, 4, 0, 2}, {6, 8, 2, 0}, {-7, 2}).magnitude, 1);
}

TEST(Decomposition, OfUnchangedOrEmptyRowsIsZero) {
  EXPECT_EQ(of_rows({3, 4, 0, 2}, {3, 4, 0, 2}).magnitude, 0);
  EXPECT_EQ(of_rows({3, 4, 0, 2}, {3, 4, 0, 2}).direction, 0);
  EXPECT_EQ(of_rows({0, 0, 0, 0}, {0, 0, 0, 0}, {9, 9}).magnitude, 0);
  EXPECT_EQ(of_rows({0, 0, 0, 0}, {0, 0, 0, 0}).direction, 0);
}

TEST(Trend, IsPearsonsCorrelationAndTheLeastSquaresSlope) {
  const std::vector<double> x = {1, 2, 3, 4}, up = {2, 4, 6, 8}, noisy = {1, 3, 2, 0};
  EXPECT_DOUBLE_EQ(trend(x, up).correlation, 1);
  EXPECT_DOUBLE_EQ(trend(x, up).slope, 2);
  // By hand: sums of squares 5 and 5, of products -2.
  EXPECT_DOUBLE_EQ(trend(x, noisy).correlation, -0.4);
  EXPECT_DOUBLE_EQ(trend(x, noisy).slope, -0.4);
}

TEST(Trend, IsNoNumberWhereThereIsNoLine) {
  const std::vector<double> one = {1}, same = {2, 2}, other = {1, 5};
  EXPECT_TRUE(std::isnan(trend(one, one).correlation));
  EXPECT_TRUE(std::isnan(trend(same, other).slope));
  EXPECT_TRUE(std::isnan(trend(other, same).correlation));
  EXPECT_EQ(trend(other, same).slope, 0);
}

}  // namespace
}  // namespace shardora::testing
