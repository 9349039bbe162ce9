#include "runtime/train/guards.h"

#include <gmock/gmock.h>

#include "runtime/comm/dry_run_communicator.h"

namespace shardora {
namespace {

TEST(Stragglers, AreRanksThatTakeMuchLongerThanTheOneInTheMiddle) {
  const double slow[] = {1.0, 1.1, 1.8, 0.9}, even[] = {1.0, 1.4, 1.2}, two[] = {1.0, 1.6}, alone[] = {5.0};
  ASSERT_TRUE(find_straggler(slow));
  EXPECT_EQ(find_straggler(slow)->rank, 2);
  EXPECT_DOUBLE_EQ(find_straggler(slow)->ratio, 1.8);
  EXPECT_FALSE(find_straggler(even));
  ASSERT_TRUE(find_straggler(two));
  EXPECT_EQ(find_straggler(two)->rank, 1);
  EXPECT_FALSE(find_straggler(alone));
}

// Rank 0 of two, whose peer takes so much longer.
class WithAPeer final : public Communicator {
 public:
  double peer_seconds = 0;
  int sums = 0;
  int rank() const override { return 0; }
  int size() const override { return 2; }
  Event all_reduce(TensorView values, Reduction, const Event&) override {
    values.span<double>()[1] = peer_seconds;
    ++sums;
    return {};
  }
  Event broadcast(TensorView, int, const Event&) override { return {}; }
  Communicator& host() override { return *this; }
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte>, int) override { return {}; }
  void barrier() override {}
};

int times_said(StragglerWatch& watch, WithAPeer& world, int windows) {
  int said = 0;
  for (int i = 0; i < windows * StragglerWatch::kSteps; ++i) said += watch.step(world, 1.0) ? 1 : 0;
  return said;
}

TEST(Stragglers, AreNamedOnceAndOnlyWhenTheyAreSlowForLong) {
  StragglerWatch watch;
  WithAPeer world;
  world.peer_seconds = 2.0 * StragglerWatch::kSteps;
  EXPECT_EQ(times_said(watch, world, 2), 0);
  EXPECT_EQ(world.sums, 2);
  world.peer_seconds = 1.0 * StragglerWatch::kSteps;
  EXPECT_EQ(times_said(watch, world, 1), 0);  // it has recovered
  world.peer_seconds = 2.0 * StragglerWatch::kSteps;
  EXPECT_EQ(times_said(watch, world, 2), 0);
  EXPECT_EQ(times_said(watch, world, 8), 1);
}

}  // namespace
}  // namespace shardora
