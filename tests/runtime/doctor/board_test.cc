// What is said when the time is up.
#include "runtime/doctor/board.h"

#include <gmock/gmock.h>

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Describe, NamesWhoIsBehindOrStopped) {
  std::vector<RankDoing> ranks = {{.rank = 4, .process = 10, .tests = 3, .test = "sums", .seconds = 9},
                                  {.rank = 5, .process = 11, .tests = 2, .test = "copies", .seconds = 9.5}};
  EXPECT_THAT(describe(ranks, "h"),
              AllOf(HasSubstr("on host h: rank 4 was at 'sums' for 9.0 s, rank 5 was at 'copies'"),
                    HasSubstr("behind is rank 5:")));
  ranks[1] = {.rank = 5, .process = 11, .tests = 3, .test = "sums", .seconds = 9, .stopped = true};
  EXPECT_THAT(describe(ranks, "h"), AllOf(HasSubstr("process 11 is stopped"), HasSubstr("behind is rank 5:")));
  ranks[1].stopped = false;
  EXPECT_THAT(describe(ranks, "h"), HasSubstr("none is behind: another host"));
}

TEST(ABoard, OfOneRankKeepsTheLastTest) {
  Board board(7);
  board.write("first", 1);
  board.write(std::string(500, 'x'), 2);
  const std::vector<RankDoing> ranks = board.read();
  ASSERT_EQ(ranks.size(), 1U);
  EXPECT_EQ(ranks[0].rank, 7);
  EXPECT_EQ(ranks[0].tests, 2);
  EXPECT_EQ(ranks[0].test, std::string(119, 'x'));
  EXPECT_FALSE(ranks[0].stopped);
  EXPECT_TRUE(board.first_to_report());
  EXPECT_FALSE(board.first_to_report());
}

}  // namespace
}  // namespace shardora
