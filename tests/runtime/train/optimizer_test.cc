#include "runtime/train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace shardora {
namespace {

TrainOptions options(ScheduleKind kind, double warmup) {
  return {.learning_rate = 2.0, .warmup_steps = warmup, .schedule = kind, .min_learning_rate = 0.5};
}

TEST(Schedule, RisesToThePeakAndEndsAtTheMinimum) {
  for (const ScheduleKind kind : {ScheduleKind::kCosine, ScheduleKind::kLinear}) {
    const Schedule rate(options(kind, 4), 12);
    EXPECT_DOUBLE_EQ(rate(1), 0.5);
    EXPECT_DOUBLE_EQ(rate(4), 2.0);
    EXPECT_DOUBLE_EQ(rate(5), 2.0);  // the first step after warm-up is at the peak
    EXPECT_DOUBLE_EQ(rate(12), 0.5);
  }
}

TEST(Schedule, FollowsItsFormulaBetween) {
  EXPECT_DOUBLE_EQ(Schedule(options(ScheduleKind::kLinear, 0), 5)(3), 1.25);
  EXPECT_DOUBLE_EQ(Schedule(options(ScheduleKind::kCosine, 0), 5)(2),
                   0.5 + 1.5 * (1 + std::cos(std::numbers::pi / 4)) / 2);
  EXPECT_DOUBLE_EQ(Schedule(options(ScheduleKind::kConstant, 2), 9)(9), 2.0);
}

TEST(Schedule, TakesAWarmUpBelowOneAsAShareAndAOneStepRunAtThePeak) {
  EXPECT_DOUBLE_EQ(Schedule(options(ScheduleKind::kLinear, 0.25), 8)(1), 1.0);
  EXPECT_DOUBLE_EQ(Schedule(options(ScheduleKind::kCosine, 0), 1)(1), 2.0);
  EXPECT_DOUBLE_EQ(Schedule(options(ScheduleKind::kCosine, 3), 4)(4), 2.0);
}

TEST(Clip, ScalesDownToTheLimitAndNeverUp) {
  EXPECT_DOUBLE_EQ(clip_factor(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_DOUBLE_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(100.0, 0.0), 1.0);
}

}  // namespace
}  // namespace shardora
