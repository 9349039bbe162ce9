// A busy machine is noticed, said, and not trusted with a choice between splits of nearly the same speed. By given
// times alone: how busy this machine is decides nothing here.
#include "runtime/jobs/plan/occupancy.h"

#include <gmock/gmock.h>

#include <cmath>

#include "runtime/jobs/plan/choice.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Of even passes.
double shown(double seconds, double processor_seconds, int threads) {
  MeasuringTime time;
  time.add({seconds / 2, seconds / 2}, processor_seconds);
  return time.shown_speed(threads, 2);
}

TEST(MeasuringTime, ShowsTheShareOfTheClockThatTheThreadHadTheProcessorFor) {
  EXPECT_DOUBLE_EQ(shown(4, 1, 2), 0.25);
  EXPECT_DOUBLE_EQ(shown(1, 1.001, 1), 1);
  EXPECT_DOUBLE_EQ(MeasuringTime{}.shown_speed(2, 2), 1);  // all figures were read from a file
}

TEST(MeasuringTime, ThreadsThatTakeTurnsAreNoOtherWork) {
  EXPECT_DOUBLE_EQ(shown(4, 2, 4), 1);
  EXPECT_DOUBLE_EQ(shown(4, 1, 4), 0.5);
}

TEST(MeasuringTime, PassesThatDifferShowThatTheyWereDisturbed) {
  MeasuringTime time;
  time.add({3, 1, 2, 9, 2}, 17);  // shortest 1, median 2
  EXPECT_DOUBLE_EQ(time.shown_speed(1, 2), 0.5);
  time.add({6, 6, 60}, 72);  // one pass that was disturbed leaves a shortest that is to be believed
  EXPECT_DOUBLE_EQ(time.shown_speed(1, 2), 7.0 / 8);
}

TEST(MeasuringTime, AShortestPassIsBelievedWhereASecondAgrees) {
  EXPECT_TRUE(shortest_is_reproduced({2, 1, 9, 1.02}));
  EXPECT_FALSE(shortest_is_reproduced({1, 1.1, 1.1}));
  EXPECT_FALSE(shortest_is_reproduced({1}));
}

TEST(MeasuringTime, AThreadThatComputesHasProcessorTime) {
  const double begin = thread_seconds();
  volatile double sum = 0;
  while (thread_seconds() < begin + 0.001) sum = sum + 1;
  EXPECT_GT(sum, 0);
}

TEST(Disturbance, SaysWhatWasSeenAndWhatToDo) {
  EXPECT_EQ(disturbance(0.5, 6.04, 2, {}),
            "the machine is busy: measuring saw 50 % of its speed (load 6.0 on 2 cores); times may be 100 % too "
            "long: plan again when it is idle");
  EXPECT_THAT(disturbance(0.79, -1, 2, "/tmp/figures.json"),
              AllOf(HasSubstr("27 % too long"), HasSubstr("without /tmp/figures.json"), Not(HasSubstr("load"))));
}

TEST(Disturbance, IsNoneWhereTheThreadHadMostOfTheProcessor) {
  EXPECT_THAT(disturbance(0.8, 9, 2, {}), IsEmpty());
  EXPECT_THAT(disturbance(1, 9, 2, "/tmp/figures.json"), IsEmpty());
}

// Splits of these speeds; below 0: of that speed, and does not fit.
RunPlan plan_of(const std::vector<double>& speeds, double shown_speed) {
  RunPlan plan;
  plan.shown_speed = shown_speed;
  for (std::size_t i = 0; i < speeds.size(); ++i) {
    SplitPlan split{.data = 4 >> i, .tensor = 1 << i};
    if (speeds[i] < 0) split.lacks = "memory";
    split.tokens_per_second = std::abs(speeds[i]);
    plan.splits.push_back(split);
  }
  choose_best(plan);
  return plan;
}

TEST(Choice, NamesTheSplitsThatTheMeasuringCannotTellFromTheBest) {
  const RunPlan plan = plan_of({100, 90, 80}, 0.9);
  EXPECT_EQ(plan.best, 0U);
  EXPECT_THAT(plan.as_good, ElementsAre(1));  // 80 is below 100 times 0.9 squared
  EXPECT_EQ(plan.why,
            "the fastest that fits, 1.11 times the next; measuring saw 90 % of the machine's speed and cannot tell it "
            "from 2 data x 2 tensor");
}

TEST(Choice, OfABusyMachineTellsNoSplitsApart) { EXPECT_THAT(plan_of({10, 100, 40}, 0.79).as_good, ElementsAre(0, 2)); }

TEST(Choice, IsMadeWhereTheDifferenceIsMoreThanTheDisturbance) {
  EXPECT_THAT(plan_of({100, 99.9}, 1).as_good, IsEmpty());
  EXPECT_EQ(plan_of({90, 100, 40}, 0.94).why,
            "the fastest that fits, 1.11 times the next; measuring saw 94 % of the "
            "machine's speed and cannot tell it from 4 data x 1 tensor");
  EXPECT_EQ(plan_of({90, 100, 40}, 0.97).why, "the fastest that fits, 1.11 times the next");
}

TEST(Choice, DoesNotNameWhatDoesNotFit) {
  EXPECT_THAT(plan_of({100, -99, -20}, 0.5).as_good, IsEmpty());
  EXPECT_EQ(plan_of({-100, -99, 20}, 0.5).why, "the only one that fits; a faster one does not fit");
}

}  // namespace
}  // namespace shardora
