// Which cores a rank gets, for hosts that this one is not.
#include "runtime/session/cpu_affinity.h"

#include <gmock/gmock.h>

namespace shardora {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::vector<int> kEight = {0, 1, 2, 3, 4, 5, 6, 7};

TEST(PlanBinding, WidensAMaskThatMpirunMadeTighterThanTheShare) {
  const Binding second =
      plan_binding({.mask = {1}, .host = kEight, .local_rank = 1, .local_size = 2, .started_by_mpirun = true}, {});
  EXPECT_THAT(second.mask, ElementsAre(4, 5, 6, 7));
  EXPECT_EQ(second.threads, 4);
  EXPECT_THAT(second.note, HasSubstr("widened from 1 core to 4 cores"));
}

TEST(PlanBinding, SharesOfTheRanksOfAHostDoNotOverlap) {
  std::vector<int> taken;
  for (int rank = 0; rank < 3; ++rank) {
    const Binding binding = plan_binding(
        {.mask = {rank}, .host = kEight, .local_rank = rank, .local_size = 3, .started_by_mpirun = true}, {});
    taken.insert(taken.end(), binding.mask.begin(), binding.mask.end());
  }
  EXPECT_THAT(taken, ElementsAre(0, 1, 2, 3, 4, 5));
}

TEST(PlanBinding, KeepsTheMaskWhereAskedAndWhereAUserOrASiteSetIt) {
  const BindingFacts mpirun{.mask = {1}, .host = kEight, .local_rank = 0, .local_size = 2, .started_by_mpirun = true};
  EXPECT_THAT(plan_binding(mpirun, {.bind = "keep"}).mask, ElementsAre(1));
  EXPECT_EQ(plan_binding(mpirun, {.bind = "keep"}).threads, 1);
  BindingFacts by_hand = mpirun;
  by_hand.started_by_mpirun = false;
  EXPECT_THAT(plan_binding(by_hand, {}).mask, ElementsAre(1));
  EXPECT_THAT(plan_binding(by_hand, {}).note, Not(HasSubstr("widened")));
}

TEST(PlanBinding, RanksThatAreNotBoundDivideTheThreads) {
  const BindingFacts unbound{
      .mask = kEight, .host = kEight, .local_rank = 1, .local_size = 4, .started_by_mpirun = true};
  EXPECT_EQ(plan_binding(unbound, {}).threads, 2);
  EXPECT_EQ(plan_binding(unbound, {}).mask, kEight);
  EXPECT_EQ(plan_binding(unbound, {.threads = 5}).threads, 5);
}

TEST(PlanBinding, MoreRanksThanCoresGetOneThreadEach) {
  const BindingFacts crowded{
      .mask = {0, 1}, .host = {0, 1}, .local_rank = 3, .local_size = 4, .started_by_mpirun = true};
  EXPECT_EQ(plan_binding(crowded, {}).threads, 1);
  EXPECT_THAT(plan_binding(crowded, {}).mask, ElementsAre(0, 1));
}

TEST(PlanBinding, WarnsOfMoreThreadsThanCores) {
  const BindingFacts two{.mask = {0, 1}, .host = {0, 1}};
  EXPECT_EQ(plan_binding(two, {.threads = 2}).warning, "");
  EXPECT_EQ(plan_binding(two, {}).warning, "");
  EXPECT_THAT(plan_binding(two, {.threads = 3}).warning,
              ::testing::AllOf(HasSubstr("parallel.threads = 3"), HasSubstr("2 cores")));
}

TEST(PlanBinding, OneRankByHandTakesItsMask) {
  const Binding binding = plan_binding({.mask = kEight, .host = kEight}, {});
  EXPECT_EQ(binding.threads, 8);
}

}  // namespace
}  // namespace shardora
