// News between hosts: every rank takes all others for far ones.
#include "runtime/comm/gossip.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/support/mpi_test.h"

namespace shardora {
namespace {

News news_of(std::int64_t progress, std::uint64_t heartbeat) {
  News news{.heartbeat = heartbeat};
  news.state.progress = progress;
  return news;
}

TEST(Gossip, NewerNewsTakeThePlaceOfOlderOnes) {
  std::vector<News> known = {news_of(1, 5), news_of(2, 5), news_of(3, 5)};
  merge(known, {news_of(10, 6), news_of(20, 4), news_of(30, 5)});
  EXPECT_EQ(known[0].state.progress, 10);
  EXPECT_EQ(known[1].state.progress, 2);
  EXPECT_EQ(known[2].state.progress, 3);
}

TEST(Gossip, EveryRankHearsOfEveryOtherAndOfWhatIsNew) {
  Communicator& world = test_world();
  const auto rank = static_cast<std::size_t>(world.rank()), size = static_cast<std::size_t>(world.size());
  std::vector<int> far;
  for (int i = 0; i < world.size(); ++i) {
    if (i != world.rank()) far.push_back(i);
  }
  Gossip gossip(MPI_COMM_WORLD, far);
  std::vector<News> known(size);
  const auto all_heard = [&](std::uint64_t heartbeat) {
    for (const News& news : known) {
      if (news.heartbeat < heartbeat) return false;
    }
    return true;
  };
  for (const std::uint64_t heartbeat : {1U, 2U}) {
    known[rank] = news_of(static_cast<std::int64_t>(100 * rank + heartbeat), heartbeat);
    std::int64_t waiting = 1;
    for (int round = 0; round < 5000 && waiting > 0; ++round) {
      gossip.round(known);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      waiting = world.all_reduce(std::int64_t{all_heard(heartbeat) ? 0 : 1}, Reduction::kMax);
    }
    EXPECT_EQ(waiting, 0);
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_EQ(known[i].state.progress, static_cast<std::int64_t>(100 * i + heartbeat));
    }
    world.barrier();
  }
}

// News of so many ranks that MPI does not send them before they are asked for.
TEST(Gossip, ARankThatNeverListensKeepsNobodyFromTheOthers) {
  Communicator& world = test_world();
  if (world.size() < 3) GTEST_SKIP() << "nobody is left to talk to";
  const int deaf = world.size() - 1;
  const auto rank = static_cast<std::size_t>(world.rank());
  std::vector<int> far;
  for (int i = 0; i < world.size(); ++i) {
    if (i != world.rank()) far.push_back(i);
  }
  Gossip gossip(MPI_COMM_WORLD, far);
  std::vector<News> known(2000);
  const auto exchange = [&](std::uint64_t heartbeat, int listening) {
    known[rank] = news_of(1, heartbeat);
    std::int64_t waiting = 1;
    for (int round = 0; round < 2000 && waiting > 0; ++round) {
      if (world.rank() < listening) gossip.round(known);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const bool heard = std::all_of(known.begin(), known.begin() + listening,
                                     [&](const News& news) { return news.heartbeat >= heartbeat; });
      waiting = world.all_reduce(std::int64_t{heard || world.rank() >= listening ? 0 : 1}, Reduction::kMax);
    }
    return waiting == 0;
  };
  for (std::uint64_t heartbeat = 1; heartbeat <= 4; ++heartbeat) EXPECT_TRUE(exchange(heartbeat, deaf)) << heartbeat;
  EXPECT_TRUE(exchange(5, world.size()));  // what was kept for it arrives
  world.barrier();
}

}  // namespace
}  // namespace shardora
