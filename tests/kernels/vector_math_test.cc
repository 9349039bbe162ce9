// The exponential that loops can vectorise, against the library's in float64.
#include "kernels/cpu/loops/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>

namespace shardora::cpu {
namespace {

TEST(FastExp, IsWithinTwoTenMillionthsOfTheTruth) {
  double worst = 0;
  for (double x = -86.5; x < 88.72; x += 0.000731) {
    const float rounded = static_cast<float>(x);
    const double truth = std::exp(static_cast<double>(rounded));
    worst = std::max(worst, std::abs(fast_exp(rounded) - truth) / truth);
  }
  EXPECT_LT(worst, 2e-7);
}

TEST(FastExp, KnowsItsEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(fast_exp(0.0F), 1.0F);
  EXPECT_EQ(fast_exp(-kInfinity), 0.0F);
  EXPECT_EQ(fast_exp(-1e30F), 0.0F);
  EXPECT_EQ(fast_exp(-90.0F), 0.0F);
  EXPECT_EQ(fast_exp(89.0F), kInfinity);
  EXPECT_EQ(fast_exp(kInfinity), kInfinity);
  EXPECT_TRUE(std::isfinite(fast_exp(88.7228F)));
  EXPECT_TRUE(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(FastExpUpToOne, IsFastExpThere) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (float x = -90; x <= 1; x += 0.000731F) EXPECT_EQ(fast_exp_up_to_one(x), fast_exp(x));
  EXPECT_EQ(fast_exp_up_to_one(0.0F), 1.0F);
  EXPECT_EQ(fast_exp_up_to_one(-kInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(fast_exp_up_to_one(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace shardora::cpu
