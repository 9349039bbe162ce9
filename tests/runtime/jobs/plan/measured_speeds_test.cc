// What is measured of this machine. How fast it is decides nothing here.
#include "runtime/jobs/plan/measured_speeds.h"

#include <gmock/gmock.h>

#include "runtime/jobs/plan/plan.h"

namespace shardora {
namespace {

constexpr GemmShape kShape{.rows = 17, .out = 24, .in = 40};
const BackendOptions kOneThread{.threads = 1};

TEST(MeasuredSpeeds, MeasureEachShapeOnce) {
  MeasuredSpeeds speeds(kOneThread, 1, {});
  const double forward = speeds.gemm(kShape, true), backward = speeds.gemm(kShape, false);
  EXPECT_GT(forward, 1e6);
  EXPECT_LT(forward, 1e13);
  EXPECT_NE(forward, backward);
  EXPECT_EQ(speeds.gemm(kShape, true), forward);
  EXPECT_EQ(speeds.gemm(kShape, false), backward);
  EXPECT_NE(speeds.gemm({.rows = 18, .out = 24, .in = 40}, true), forward);
}

TEST(MeasuredSpeeds, KnowEveryKindOfOperation) {
  MeasuredSpeeds speeds(kOneThread, 1, {.storage = DType::kBF16});
  const AttentionShape attention{.heads = 2, .kv_heads = 1, .head_dim = 8, .length = 17, .sequences = 2};
  for (const double speed : {speeds.gemm(kShape, true), speeds.attention(attention, true),
                             speeds.attention(attention, false), speeds.adapter(kShape, 3),
                             speeds.elementwise(17, 24, 37), speeds.loss(17, 127), speeds.memory(), speeds.link(2)}) {
    EXPECT_GT(speed, 1e5);
    EXPECT_LT(speed, 1e13);
  }
  EXPECT_THAT(speeds.processor(), testing::HasSubstr(", "));
}

// Two measurements of one speed differ, but not as much as by a factor of 8.
TEST(MeasuredSpeeds, RanksShareTheMachine) {
  const double alone = MeasuredSpeeds(kOneThread, 1, {}).gemm({600, 256, 256}, true);
  EXPECT_LT(MeasuredSpeeds(kOneThread, 64, {}).gemm({600, 256, 256}, true), alone / 8);
}

TEST(MeasuredSpeeds, MakeTheTimeOfAStep) {
  RunOptions options;
  options.plan.shape = "260K";
  options.plan.device_memory = 1000;
  options.data.sequence_length = 16;
  options.train.global_batch = 2;
  options.parallel.threads = 1;
  const RunPlan plan = make_plan(options);
  const StepTime time = plan.splits.at(0).time;
  for (const auto& [name, part] : kTimeParts) {
    EXPECT_EQ(time.*part > 0, std::string_view(name).find("sums") == std::string_view::npos) << name;
  }
  EXPECT_THAT(plan.device, testing::StartsWith("this machine: "));
}

}  // namespace
}  // namespace shardora
