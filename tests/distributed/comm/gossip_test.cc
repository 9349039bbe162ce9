// States between hosts: every rank takes all others for ranks of other hosts.
#include "runtime/watchdog/gossip.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "tests/support/mpi_test.h"

namespace shardora {
namespace {

RankStatus status_of(std::int64_t progress, std::uint64_t heartbeat) {
  RankStatus status{.heartbeat = heartbeat};
  status.state.progress = progress;
  return status;
}

TEST(Gossip, ANewerStatusTakesThePlaceOfAnOlderOne) {
  std::vector<RankStatus> known = {status_of(1, 5), status_of(2, 5), status_of(3, 5)};
  merge(known, {status_of(10, 6), status_of(20, 4), status_of(30, 5)});
  EXPECT_EQ(known[0].state.progress, 10);
  EXPECT_EQ(known[1].state.progress, 2);
  EXPECT_EQ(known[2].state.progress, 3);
}

TEST(Gossip, EveryRankHearsOfEveryOtherAndOfWhatIsNew) {
  Communicator& world = test_world();
  const auto rank = static_cast<std::size_t>(world.rank()), size = static_cast<std::size_t>(world.size());
  std::vector<int> remote;
  for (int i = 0; i < world.size(); ++i) {
    if (i != world.rank()) remote.push_back(i);
  }
  Gossip gossip(MPI_COMM_WORLD, remote);
  std::vector<RankStatus> known(size);
  const auto all_heard = [&](std::uint64_t heartbeat) {
    for (const RankStatus& status : known) {
      if (status.heartbeat < heartbeat) return false;
    }
    return true;
  };
  for (const std::uint64_t heartbeat : {1U, 2U}) {
    known[rank] = status_of(static_cast<std::int64_t>(100 * rank + heartbeat), heartbeat);
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

// Of so many ranks that MPI does not send a message before it is received.
TEST(Gossip, ARankThatNeverListensKeepsNobodyFromTheOthers) {
  Communicator& world = test_world();
  if (world.size() < 3) GTEST_SKIP() << "nobody is left to talk to";
  const int deaf = world.size() - 1;
  const auto rank = static_cast<std::size_t>(world.rank());
  std::vector<int> remote;
  for (int i = 0; i < world.size(); ++i) {
    if (i != world.rank()) remote.push_back(i);
  }
  Gossip gossip(MPI_COMM_WORLD, remote);
  std::vector<RankStatus> known(2000);
  const auto exchange = [&](std::uint64_t heartbeat, int listening) {
    known[rank] = status_of(1, heartbeat);
    std::int64_t waiting = 1;
    for (int round = 0; round < 2000 && waiting > 0; ++round) {
      if (world.rank() < listening) gossip.round(known);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const bool heard = std::all_of(known.begin(), known.begin() + listening,
                                     [&](const RankStatus& status) { return status.heartbeat >= heartbeat; });
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
