// Amounts of work over speeds, with speeds that are easy to count with.
#include "runtime/jobs/plan/speeds.h"

#include <gtest/gtest.h>

namespace shardora {
namespace {

class RoundSpeeds final : public Speeds {
 public:
  double gemm(const GemmShape&, bool forward) override { return forward ? 100 : 50; }
  double adapter(const GemmShape&, std::int64_t) override { return 10; }
  double attention(const AttentionShape&, bool forward) override { return forward ? 20 : 10; }
  double elementwise(std::int64_t, std::int64_t, std::int64_t) override { return 1000; }
  double loss(std::int64_t, std::int64_t) override { return 500; }
  double memory() override { return 200; }
  double link(int neighbours) override { return neighbours > 4 ? 10 : 100; }
  double latency() override { return 0.5; }
};

StepCost some_cost() {
  StepCost cost;
  cost.linears = {{.shape = {5, 2, 1},
                   .forward_flops = 200,
                   .backward_flops = 100,
                   .adapter_rank = 1,
                   .adapter_flops = 70,
                   .norm_flops = 20}};
  cost.head = {.shape = {5, 10, 1}, .forward_flops = 300, .backward_flops = 300};
  cost.attention_forward_flops = 40, cost.attention_backward_flops = 100;
  cost.elementwise_bytes = 3000, cost.loss_bytes = 1000, cost.optimizer_bytes = 600;
  return cost;
}
const StepTraffic kTraffic{.tensor = {.calls = 4, .bytes = 1000},
                           .tensor_gradients = {.calls = 1, .bytes = 100},
                           .data = {.calls = 1, .bytes = 400}};

TEST(StepTime, IsEachPartsWorkOverItsSpeed) {
  RoundSpeeds speeds;
  const StepTime time = step_time(some_cost(), kTraffic, 1, 1, speeds);
  EXPECT_DOUBLE_EQ(time.products, 200 / 100.0 + 100 / 50.0);
  EXPECT_DOUBLE_EQ(time.head, 300 / 100.0 + 300 / 50.0);
  EXPECT_DOUBLE_EQ(time.attention, 2 + 10);
  EXPECT_DOUBLE_EQ(time.adapters, 7);
  EXPECT_DOUBLE_EQ(time.elementwise, 3);
  EXPECT_DOUBLE_EQ(time.loss, 2);
  EXPECT_DOUBLE_EQ(time.norms, 2);
  EXPECT_DOUBLE_EQ(time.optimizer, 3);
  EXPECT_EQ(time.tensor_sums, 0);
  EXPECT_EQ(time.gradient_sums, 0);
  EXPECT_DOUBLE_EQ(time.total(), 4 + 9 + 12 + 7 + 3 + 2 + 2 + 3);
  EXPECT_DOUBLE_EQ(time.floor(), 4 + 9 + 12);
}

// 2 (n - 1) / n of the bytes, and the latency of each call.
TEST(StepTime, OfSumsIsThatOfARing) {
  RoundSpeeds speeds;
  const StepTime four = step_time(some_cost(), kTraffic, 4, 1, speeds);
  EXPECT_DOUBLE_EQ(four.tensor_sums, (4 * 0.5 + 1.5 * 10) + (0.5 + 1.5 * 1));
  EXPECT_EQ(four.gradient_sums, 0);
  EXPECT_DOUBLE_EQ(step_time(some_cost(), kTraffic, 1, 2, speeds).gradient_sums, 0.5 + 1.0 * 4);
}

// 4 x 2 ranks are more than these hosts have, though neither group is.
TEST(StepTime, OfSumsThatLeaveAHostIsTheNetworks) {
  RoundSpeeds speeds;
  const StepTime time = step_time(some_cost(), kTraffic, 4, 2, speeds);
  EXPECT_DOUBLE_EQ(time.tensor_sums, (4 * 0.5 + 1.5 * 10) + (0.5 + 1.5 * 1));
  EXPECT_DOUBLE_EQ(time.gradient_sums, 0.5 + 1.0 * 40);
}

TEST(TableSpeeds, AreSharesOfThePeaks) {
  const DeviceFigures& h200 = *find_device_by_word("h200");
  TableSpeeds speeds(h200);
  EXPECT_NEAR(speeds.gemm({}, true), 790e12, 2e12);  // measured
  EXPECT_DOUBLE_EQ(speeds.link(8), 450e9 * 0.8);
  EXPECT_DOUBLE_EQ(speeds.link(9), 50e9 * 0.8);
  EXPECT_LT(speeds.adapter({}, 16), speeds.gemm({}, true));
  EXPECT_EQ(speeds.adapter({}, 4096), speeds.gemm({}, true));
}

}  // namespace
}  // namespace shardora
