// The watchdog's rules, on states and a clock of the test's own.
#include "runtime/watchdog/stall.h"

#include <gmock/gmock.h>

namespace shardora {
namespace {

using testing::HasSubstr;

constexpr StallLimits kLimits{.seconds = 10, .silent_seconds = 2};
constexpr auto kWorld = GroupKind::kWorld, kTensor = GroupKind::kTensor, kData = GroupKind::kData;

// Ranks 0 and 1 are one tensor group, 2 and 3 another; all have joined four collectives of each group.
class Ranks {
 public:
  Ranks() : ranks_(4) {
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      ranks_[i].known = true;
      ranks_[i].state.entered = {4, 4, 4, 4};
      ranks_[i].state.lowest = {0, 0, static_cast<std::int64_t>(i % 2), static_cast<std::int64_t>(i / 2 * 2)};
      put_text(ranks_[i].state.activity, "step 12");
    }
  }
  RankView& operator[](std::size_t rank) { return ranks_[rank]; }
  // In the next collective of that group, for so long.
  void waits(std::size_t rank, GroupKind kind, double seconds, const char* operation = "all_reduce of 17 float32") {
    RankView& view = ranks_[rank];
    const auto index = static_cast<std::size_t>(kind);
    view.state.waiting = static_cast<std::int64_t>(index);
    ++view.state.entered[index];
    put_text(view.state.operation, operation);
    view.state.entered_at = 1000 - seconds;
    view.still_seconds = seconds;
  }
  void works_since(std::size_t rank, double seconds) { ranks_[rank].still_seconds = seconds; }
  std::optional<Stall> find() const { return find_stall(ranks_, kLimits); }

 private:
  std::vector<RankView> ranks_;
};

TEST(Stall, NobodyIsLateWhileNobodyWaits) {
  Ranks ranks;
  for (std::size_t i = 0; i < 4; ++i) ranks.works_since(i, 1000);
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, ARankThatWorksIsNeverLateHoweverLongItsPeersWait) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U, 3U}) ranks.waits(i, kWorld, 1000);
  ranks.works_since(2, 0.5);
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, APeerThatStandsStillForAsLongAsTheLimitIsNamedWithTheOperationItDidNotJoin) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U, 3U}) ranks.waits(i, kWorld, 10.5);
  ranks.works_since(2, 11);
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 2);
  EXPECT_DOUBLE_EQ(stall->seconds, 10.5);
  EXPECT_THAT(stall->why,
              HasSubstr("rank 2 has not joined operation #5 (all_reduce of 17 float32 over the world group, step 12)"));
}

TEST(Stall, TimeWithoutProgressCountsOnlyWhileAPeerWaits) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U, 3U}) ranks.waits(i, kWorld, 9);
  ranks.works_since(2, 1000);
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, APauseOfHalfTheLimitPasses) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U, 3U}) ranks.waits(i, kWorld, 5);
  ranks.works_since(2, 5);
  ranks[2].silent_seconds = 5;
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, WhoWaitsForALateRankIsNotBlamedForIt) {
  Ranks ranks;
  ranks.waits(0, kTensor, 30);  // for 1, which waits for 3, which stands still
  ranks.waits(1, kData, 29);
  ranks.waits(2, kTensor, 28);
  ranks.works_since(3, 31);
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 3);
}

TEST(Stall, WhoWaitsForARankThatWorksIsNotLateEither) {
  Ranks ranks;
  ranks.waits(0, kTensor, 30);
  ranks.waits(1, kData, 29);
  ranks.waits(2, kTensor, 28);
  ranks.works_since(3, 0.1);
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, AGroupWithoutTheLateRankIsNoReasonForAlarm) {
  Ranks ranks;
  ranks.waits(0, kTensor, 0.1);
  ranks.works_since(1, 0.1);
  ranks.works_since(3, 100);
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, OfTwoThatWaitForEachOtherTheOneThatWentOnIsNamed) {
  for (const bool first : {true, false}) {
    Ranks ranks;
    ranks.waits(first ? 0 : 1, kTensor, 12);
    ranks.waits(first ? 1 : 0, kWorld, 11.9);  // it has skipped the tensor group's collective
    EXPECT_FALSE(ranks.find());                // the others still work, and will wait here
    for (const std::size_t i : {2U, 3U}) ranks.waits(i, kWorld, 11.8);
    const auto stall = ranks.find();
    ASSERT_TRUE(stall);
    EXPECT_EQ(stall->rank, first ? 1 : 0);
    EXPECT_THAT(stall->why, HasSubstr("over the tensor group"));
    EXPECT_THAT(stall->why, HasSubstr("do not call the same collectives"));
  }
}

TEST(Stall, OfTwoThatWaitForEachOtherTheOneThatHasFewerThanOthersAtItsPlaceIsNamed) {
  Ranks ranks;
  ranks.waits(0, kTensor, 11);
  for (const std::size_t i : {1U, 2U, 3U}) ranks.waits(i, kWorld, 12);
  for (const std::size_t i : {2U, 3U}) ++ranks[i].state.entered[static_cast<std::size_t>(kTensor)];
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 1);
}

TEST(Stall, AProcessThatFreezesInsideACollectiveThatAllHaveJoinedIsNamed) {
  Ranks ranks;
  for (std::size_t i = 0; i < 4; ++i) ranks.waits(i, kWorld, 12);
  ranks[3].silent_seconds = 12;
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 3);
  EXPECT_THAT(
      stall->why,
      HasSubstr("inside operation #5 (all_reduce of 17 float32 over the world group, step 12), rank 3 does not"));
}

TEST(Stall, ADifferentOperationAtOnePlaceIsNamed) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U, 2U}) ranks.waits(i, kWorld, 12);
  ranks.waits(3, kWorld, 12, "broadcast of 8 bytes");
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 3);
  EXPECT_THAT(stall->why, HasSubstr("broadcast of 8 bytes"));
}

TEST(Stall, ACollectiveThatAllHaveJoinedAndThatDoesNotEndIsOverToo) {
  Ranks ranks;
  for (std::size_t i = 0; i < 4; ++i) ranks.waits(i, kWorld, 12);
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, -1);
  EXPECT_THAT(stall->why, HasSubstr("joined by all its ranks and does not end"));
  ranks.works_since(2, 3);  // it has joined 3 seconds ago
  EXPECT_FALSE(ranks.find());
}

TEST(Stall, ARankThatWasNeverSeenIsNamedOnItsOwnHostOnly) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U, 3U}) ranks.waits(i, kWorld, 12);
  ranks[2] = RankView{.known = false, .near = true, .still_seconds = 12, .silent_seconds = 12};
  ASSERT_TRUE(ranks.find());
  EXPECT_EQ(ranks.find()->rank, 2);
  ranks[2].near = false;
  ASSERT_TRUE(ranks.find());
  EXPECT_EQ(ranks.find()->rank, -1);
  EXPECT_THAT(ranks.find()->why, HasSubstr("other hosts"));
}

// Ranks 0 and 1 wait, and hear nothing of the other host.
Ranks lost_host(double silent_seconds) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U}) ranks.waits(i, kWorld, 12);
  for (const std::size_t i : {2U, 3U}) {
    ranks.works_since(i, 12);
    ranks[i].near = false;
    ranks[i].silent_seconds = silent_seconds;
  }
  return ranks;
}

TEST(Stall, OfALostHostEveryRankIsNamed) {
  const auto stall = lost_host(12).find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 2);
  EXPECT_THAT(stall->why, HasSubstr("rank 2 has not joined operation #5"));
  EXPECT_THAT(stall->why, HasSubstr("nothing is heard of ranks 2 to 3 of other hosts: a host is lost"));
}

TEST(Stall, OfAnotherHostOnlyWhoIsSilentIsNamedAsUnheard) {
  Ranks ranks = lost_host(12);
  ranks[2].silent_seconds = 1;
  ranks.works_since(2, 0.5);
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 3);
  EXPECT_THAT(stall->why, HasSubstr("nothing is heard of rank 3 of other hosts"));
}

TEST(Stall, ALostHostInsideACollectiveThatAllHaveJoinedIsNamed) {
  Ranks ranks = lost_host(12);
  for (const std::size_t i : {2U, 3U}) ranks.waits(i, kWorld, 12);
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, 2);
  EXPECT_THAT(stall->why, HasSubstr("step 12), nothing is heard of ranks 2 to 3 of other hosts"));
}

TEST(Stall, BeforeTheFirstStatusArrivesTheRanksOfOtherHostsAreNamedTogether) {
  Ranks ranks;
  for (const std::size_t i : {0U, 1U}) ranks.waits(i, kWorld, 12);
  for (const std::size_t i : {2U, 3U})
    ranks[i] = {.known = false, .near = false, .still_seconds = 12, .silent_seconds = 12};
  const auto stall = ranks.find();
  ASSERT_TRUE(stall);
  EXPECT_EQ(stall->rank, -1);
  EXPECT_THAT(stall->why, HasSubstr("waits for ranks 2 to 3 of other hosts; all ranks of this host have joined it"));
}

TEST(Stall, TheLowestRankThatShowsItselfReports) {
  std::vector<RankView> ranks(3);
  for (RankView& view : ranks) view.known = true;
  EXPECT_EQ(lowest_living(ranks, kLimits), 0);
  ranks[0].silent_seconds = 3;
  EXPECT_EQ(lowest_living(ranks, kLimits), 1);
  ranks[1].known = false;
  EXPECT_EQ(lowest_living(ranks, kLimits), 2);
}

TEST(PeerAges, CountFromTheLastChange) {
  PeerAges ages(2, 0.5);
  for (int i = 0; i <= 20; ++i) {
    ages.tick(0.5 * i);
    ages.see(0, i < 10 ? i : 10, static_cast<std::uint64_t>(i));
  }
  EXPECT_DOUBLE_EQ(ages.still_seconds(0), 5);
  EXPECT_DOUBLE_EQ(ages.silent_seconds(0), 0);
  EXPECT_DOUBLE_EQ(ages.still_seconds(1), 10);  // never seen
}

TEST(PeerAges, ASuspensionOfThisProcessDoesNotCount) {
  PeerAges ages(1, 0.5);
  ages.tick(0);
  ages.see(0, 1, 1);
  ages.tick(0.5);
  ages.tick(1000);
  EXPECT_LE(ages.still_seconds(0), 1.5);
}

TEST(StateSlot, GivesBackWhatWasWritten) {
  StateSlot slot;
  RankState state, read;
  EXPECT_FALSE(slot.read(read));
  state.progress = 17;
  put_text(state.activity, std::string(100, 'x'));
  slot.write(state);
  ASSERT_TRUE(slot.read(read));
  EXPECT_EQ(read.progress, 17);
  EXPECT_EQ(std::string(read.activity.data()), std::string(63, 'x'));
}

}  // namespace
}  // namespace shardora
