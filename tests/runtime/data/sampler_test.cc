// Which sequences each step draws: shares, epochs, and that resuming changes nothing.
#include "runtime/data/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "tests/runtime/data/dataset_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using Draw = std::pair<std::int64_t, std::int64_t>;  // dataset, sequence

std::vector<Draw> draws(const Sampler& sampler, std::int64_t first_step, std::int64_t last_step) {
  std::vector<Draw> result;
  for (std::int64_t step = first_step; step <= last_step; ++step) {
    std::int64_t place = 0;
    for (const SequenceRef& ref : sampler.plan(step).sequences) {
      EXPECT_EQ(ref.place, place++);
      result.emplace_back(ref.dataset, ref.sequence);
    }
  }
  return result;
}

class SamplerTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  Dataset small_ = dataset_of(folder_ / "small", std::vector<std::int64_t>(7, 3));
  Dataset large_ = dataset_of(folder_ / "large", std::vector<std::int64_t>(17, 5));
};

TEST_F(SamplerTest, UnshuffledTakesFileOrderAndWraps) {
  const Sampler sampler({{&small_}}, 3, false, 0);
  const auto drawn = draws(sampler, 1, 5);
  for (std::size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(drawn[i].second, static_cast<std::int64_t>(i % 7));
}

TEST_F(SamplerTest, EveryEpochIsAnotherPermutation) {
  const Sampler sampler({{&large_}}, 1, true, 3);
  std::set<std::vector<Draw>> orders;
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    auto order = draws(sampler, 17 * epoch + 1, 17 * (epoch + 1));
    orders.insert(order);
    std::sort(order.begin(), order.end());
    for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i].second, static_cast<std::int64_t>(i));
  }
  EXPECT_EQ(orders.size(), 4U);
}

TEST_F(SamplerTest, TheLastStepOfSomeEpochsHoldsWhatIsLeft) {
  for (const bool shuffled : {false, true}) {
    Sampler endless({{&large_}}, 5, shuffled, 3), sampler({{&large_}}, 5, shuffled, 3);
    EXPECT_EQ(sampler.end_after(2), 7);  // 34 sequences
    auto expected = draws(endless, 1, 7);
    expected.pop_back();
    EXPECT_EQ(draws(sampler, 1, 7), expected);
    const StepPlan last = sampler.plan(7);
    EXPECT_EQ(last.sequences.size(), 4U);
    EXPECT_EQ(last.token_count, 4 * 5);
    EXPECT_EQ(last.target_count, 4 * 4);
    sampler.never_end();
    EXPECT_EQ(draws(sampler, 1, 9), draws(endless, 1, 9));
  }
  Sampler mixture({{&small_, 0.3}, {&large_, 0.7}}, 10, true, 1), half({{&small_}}, 32, true, 1);
  EXPECT_EQ(mixture.end_after(1), 3);
  EXPECT_EQ(mixture.plan(3).sequences.size(), 4U);
  EXPECT_EQ(half.end_after(0.5), 1);
  EXPECT_EQ(half.plan(1).sequences.size(), 4U);
  EXPECT_EQ(half.end_after(1e-9), 1);
  EXPECT_EQ(half.plan(1).sequences.size(), 1U);
}

TEST_F(SamplerTest, ARestWithoutATargetIsLeftOut) {
  const Dataset last_is_single = dataset_of(folder_ / "single", {3, 3, 3, 3, 1});
  Sampler sampler({{&last_is_single}}, 2, false, 0);
  EXPECT_EQ(sampler.end_after(1), 2);
  Sampler alone({{&last_is_single}}, 4, false, 0);
  EXPECT_EQ(alone.end_after(2), 3);  // the rest has a target
  EXPECT_EQ(alone.plan(3).sequences.size(), 2U);
}

TEST_F(SamplerTest, TellsTheEpochsInAStep) {
  const Sampler sampler({{&small_, 0.5}, {&large_, 0.5}}, 20, true, 1);
  EXPECT_THAT(sampler.epochs_in(1),
              testing::ElementsAre(testing::DoubleNear(10.0 / 7, 1e-12), testing::DoubleNear(10.0 / 17, 1e-12)));
  Sampler whole({{&small_}}, 20, true, 1);
  whole.end_after(1);
  EXPECT_THAT(whole.epochs_in(1), testing::ElementsAre(testing::DoubleNear(1, 1e-12)));
}

TEST_F(SamplerTest, SeedsAndSourcesHaveOrdersOfTheirOwn) {
  const Sampler one({{&large_}}, 17, true, 1), two({{&large_}}, 17, true, 2);
  EXPECT_NE(draws(one, 1, 1), draws(two, 1, 1));
  const Sampler both({{&large_}, {&large_}}, 34, true, 1);
  std::map<std::int64_t, std::vector<std::int64_t>> order;
  for (const auto& [dataset, sequence] : draws(both, 1, 1)) order[dataset].push_back(sequence);
  EXPECT_NE(order[0], order[1]);
}

TEST_F(SamplerTest, TwoResumesNeitherRepeatNorSkipAcrossEpochs) {
  // 17 + 7 sequences, 5 a step: steps 2 to 5 cross ends of epochs of both sources, and the resumes lie among them.
  const auto fresh = [&] { return Sampler({{&large_, 0.7}, {&small_, 0.3}}, 5, true, 11); };
  const auto straight = draws(fresh(), 1, 12);
  auto resumed = draws(fresh(), 1, 3);
  for (const auto& draw : draws(fresh(), 4, 5)) resumed.push_back(draw);
  for (const auto& draw : draws(fresh(), 6, 12)) resumed.push_back(draw);
  EXPECT_EQ(resumed, straight);
  std::map<Draw, int> times;
  for (const Draw& draw : straight) ++times[draw];
  for (std::int64_t i = 0; i < 17; ++i) {  // 42 draws: two epochs, and 8 of the third
    EXPECT_GE((times[{0, i}]), 2);
    EXPECT_LE((times[{0, i}]), 3);
  }
  for (std::int64_t i = 0; i < 7; ++i) {  // 18 draws
    EXPECT_GE((times[{1, i}]), 2);
    EXPECT_LE((times[{1, i}]), 3);
  }
}

TEST_F(SamplerTest, PlansDoNotDependOnTheOrderTheyAreAskedIn) {
  const Sampler forward({{&small_}}, 5, true, 4), backward({{&small_}}, 5, true, 4);
  std::vector<std::vector<Draw>> there, back;
  for (std::int64_t step = 1; step <= 6; ++step) there.push_back(draws(forward, step, step));
  for (std::int64_t step = 6; step >= 1; --step) back.insert(back.begin(), draws(backward, step, step));
  EXPECT_EQ(there, back);
}

TEST_F(SamplerTest, TheStreamDoesNotDependOnTheGlobalBatch) {
  const Sampler fives({{&small_, 1}, {&large_, 2}}, 5, true, 4), sevens({{&small_, 1}, {&large_, 2}}, 7, true, 4);
  EXPECT_EQ(draws(fives, 1, 21), draws(sevens, 1, 15));
}

TEST_F(SamplerTest, AMixtureGivesExactSharesInEveryPeriodAndStaysCloseWithin) {
  const Sampler sampler({{&small_, 0.2}, {&large_, 0.5}, {&small_, 0.3}}, 10, true, 1);
  const auto drawn = draws(sampler, 1, 40);
  std::vector<double> given(3, 0);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    ++given[static_cast<std::size_t>(drawn[i].first)];
    const auto n = static_cast<double>(i + 1);
    EXPECT_LE(std::abs(given[0] - 0.2 * n), 1.0);
    EXPECT_LE(std::abs(given[1] - 0.5 * n), 1.0);
    EXPECT_LE(std::abs(given[2] - 0.3 * n), 1.0);
    if ((i + 1) % 10 == 0) {
      EXPECT_THAT(given, testing::ElementsAre(n / 10 * 2, n / 10 * 5, n / 10 * 3));
    }
  }
}

TEST_F(SamplerTest, SharesNeedNotSumToOneNorBeShortFractions) {
  const Sampler thirds({{&small_, 1}, {&large_, 2}}, 3, false, 1);
  std::int64_t first = 0;
  for (const auto& draw : draws(thirds, 1, 100)) first += draw.first == 0;
  EXPECT_EQ(first, 100);
  const Sampler odd({{&small_, 0.123456}, {&large_, 0.876544}}, 1000, false, 1);
  first = 0;
  for (const auto& draw : draws(odd, 1, 3)) first += draw.first == 0;
  EXPECT_EQ(first, 3 * 123);
  const Sampler tiny({{&small_, 1e-7}, {&large_, 1}}, 1001, false, 1);  // never none at all
  first = 0;
  for (const auto& draw : draws(tiny, 1, 1)) first += draw.first == 0;
  EXPECT_EQ(first, 1);
}

TEST_F(SamplerTest, RefusesSharesThatAreNotAboveZero) {
  for (const double share : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ExitStatus::kUsage, {"data.train", "share"}, [&] { Sampler({{&small_, share}}, 1, true, 0); });
  }
}

TEST_F(SamplerTest, AGlobalBatchLargerThanTheSetRunsThroughItSeveralTimes) {
  const Sampler sampler({{&small_}}, 17, true, 2);
  std::map<std::int64_t, int> times;
  for (const auto& draw : draws(sampler, 1, 1)) ++times[draw.second];
  ASSERT_EQ(times.size(), 7U);
  for (const auto& [sequence, count] : times) EXPECT_TRUE(count == 2 || count == 3) << sequence;
}

TEST_F(SamplerTest, CountsTokensAndTargetsOfTheStep) {
  const Sampler sampler({{&small_, 1}, {&large_, 1}}, 4, true, 2);
  const StepPlan plan = sampler.plan(9);
  EXPECT_EQ(plan.sequences.size(), 4U);
  EXPECT_EQ(plan.token_count, 2 * 3 + 2 * 5);
  EXPECT_EQ(plan.target_count, 2 * 2 + 2 * 4);
}

TEST_F(SamplerTest, AStepWithoutTargetsIsRefusedByItsNumber) {
  const Dataset mostly_single = dataset_of(folder_ / "single", {2, 1, 1, 1});
  const Sampler sampler({{&mostly_single}}, 2, false, 0);
  EXPECT_EQ(sampler.plan(1).target_count, 1);
  expect_error(ExitStatus::kBadInput, {"step 2", "none of its 2 sequences"}, [&] { sampler.plan(2); });
}

TEST_F(SamplerTest, StepsOfEpochsAreRoundedUp) {
  const Sampler sampler({{&small_}, {&large_}}, 10, true, 0);  // 24 sequences
  EXPECT_EQ(sampler.steps_in(1), 3);
  EXPECT_EQ(sampler.steps_in(5), 12);
  EXPECT_EQ(sampler.steps_in(0.01), 1);
  const Dataset ten = dataset_of(folder_ / "ten", std::vector<std::int64_t>(10, 2));
  EXPECT_EQ(Sampler({{&ten}}, 1, true, 0).steps_in(1.1), 11);  // 1.1 * 10 > 11 in binary
}

}  // namespace
}  // namespace shardora
