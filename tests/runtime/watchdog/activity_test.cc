// What is said when the time is up.
#include "runtime/watchdog/activity.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <string>

#include "runtime/system/proc.h"
#include "runtime/watchdog/flight_record.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Describe, NamesWhoIsBehindOrStopped) {
  std::vector<RankActivity> ranks = {{.rank = 4, .process = 10, .count = 3, .activity = "sums", .seconds = 9},
                                     {.rank = 5, .process = 11, .count = 2, .activity = "copies", .seconds = 9.5}};
  EXPECT_THAT(describe(ranks, "h"),
              AllOf(HasSubstr("on host h: rank 4 was at 'sums' for 9.0 s, rank 5 was at 'copies'"),
                    HasSubstr("behind is rank 5:")));
  ranks[1] = {.rank = 5, .process = 11, .count = 3, .activity = "sums", .seconds = 9, .stopped = true};
  EXPECT_THAT(describe(ranks, "h"), AllOf(HasSubstr("process 11 is stopped"), HasSubstr("behind is rank 5:")));
  ranks[1].stopped = false;
  EXPECT_THAT(describe(ranks, "h"), HasSubstr("none is behind: another host"));
}

TEST(ReadActivities, AreTheLatestOfThoseWhoHaveCome) {
  static const std::string job = "activity-test-" + std::to_string(getpid());
  const auto environment = [](const char* name) {
    return std::string(name) == "PMIX_NAMESPACE" ? job.c_str() : nullptr;
  };
  HostBoard board(environment, 9, 7), peers(environment, 9, 3);
  board.forget_name();
  FlightRecord record;
  record.publish_to(board.mine());
  record.set_activity("first");
  const double before = monotonic_seconds();
  record.set_activity(std::string(500, 'x'));
  const std::vector<RankActivity> ranks = read_activities(peers, 9);
  ASSERT_EQ(ranks.size(), 1U);
  EXPECT_EQ(ranks[0].rank, 7);
  EXPECT_EQ(ranks[0].process, getpid());
  EXPECT_EQ(ranks[0].count, 2);
  EXPECT_EQ(ranks[0].activity, std::string(63, 'x'));
  EXPECT_GE(ranks[0].seconds, 0);
  EXPECT_LE(ranks[0].seconds, monotonic_seconds() - before);
  EXPECT_FALSE(ranks[0].stopped);
  EXPECT_TRUE(board.claim_report());
  EXPECT_FALSE(peers.claim_report());
}

}  // namespace
}  // namespace shardora
