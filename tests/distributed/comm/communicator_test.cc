// Collectives over MPI. Inputs are whole numbers, so that every expected value is exact and compared with ==.
#include "runtime/comm/communicator.h"

#include <gmock/gmock.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>

#include "runtime/comm/mpi_check.h"
#include "runtime/comm/mpi_communicator.h"
#include "tests/support/mpi_test.h"

namespace shardora {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 17, 127, 4096, 4097, 100'003};

// Different on every rank and at every place, of both signs: sum, max and min all differ, and no two places agree.
std::int64_t contribution(int rank, std::int64_t place) {
  return (rank % 2 == 0 ? 1 : -1) * ((rank + 1) * 1000 + place % 911);
}

std::int64_t expected(Reduction reduction, int ranks, std::int64_t place) {
  std::int64_t result = contribution(0, place);
  for (int rank = 1; rank < ranks; ++rank) {
    const std::int64_t next = contribution(rank, place);
    if (reduction == Reduction::kSum) result += next;
    if (reduction == Reduction::kMax) result = std::max(result, next);
    if (reduction == Reduction::kMin) result = std::min(result, next);
  }
  return result;
}

template <class T>
void expect_exact_all_reduce(Communicator& group, Reduction reduction, std::int64_t size) {
  std::vector<T> values(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    values[static_cast<std::size_t>(i)] = static_cast<T>(contribution(group.rank(), i));
  }
  const Event end = group.all_reduce(view_of(std::span(values), {size}), reduction, Event{});
  EXPECT_EQ(end.handle, nullptr);
  std::vector<T> wanted(values.size());
  for (std::int64_t i = 0; i < size; ++i) {
    wanted[static_cast<std::size_t>(i)] = static_cast<T>(expected(reduction, group.size(), i));
  }
  EXPECT_TRUE(values == wanted) << "size " << size << ", reduction " << static_cast<int>(reduction);
}

template <class T>
void expect_exact_all_reduces(Communicator& group) {
  for (const std::int64_t size : kSizes) {
    for (const Reduction reduction : {Reduction::kSum, Reduction::kMax, Reduction::kMin}) {
      expect_exact_all_reduce<T>(group, reduction, size);
    }
  }
}

// The world again, cutting its messages into pieces of so many elements.
MpiCommunicator world_in_pieces(std::int64_t piece) {
  MPI_Comm copy = MPI_COMM_NULL;
  SHARDORA_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &copy));
  return MpiCommunicator(copy, piece);
}

TEST(Communicator, AllReduceCombinesEveryRanksFloat32) { expect_exact_all_reduces<float>(test_world()); }
TEST(Communicator, AllReduceCombinesEveryRanksFloat64) { expect_exact_all_reduces<double>(test_world()); }
TEST(Communicator, AllReduceCombinesEveryRanksInt32) { expect_exact_all_reduces<std::int32_t>(test_world()); }
TEST(Communicator, AllReduceCombinesEveryRanksInt64) { expect_exact_all_reduces<std::int64_t>(test_world()); }

TEST(Communicator, AllReduceInPiecesMissesNoElementAndTakesNoneTwice) {
  MpiCommunicator large = world_in_pieces(4999);
  expect_exact_all_reduces<float>(large);
  MpiCommunicator small = world_in_pieces(7);
  for (const std::int64_t size : {0, 1, 7, 8, 127}) expect_exact_all_reduce<double>(small, Reduction::kSum, size);
}

// Every rank's bytes, compared on rank 0.
void expect_same_bytes(Communicator& group, std::span<const float> values, const char* what) {
  const auto all = group.gather(std::as_bytes(values), 0);
  for (std::size_t rank = 1; rank < all.size(); ++rank) EXPECT_TRUE(all[rank] == all[0]) << what << ", rank " << rank;
}

TEST(Communicator, AllReduceGivesTheSameBitsOnEveryRankWhateverTheRounding) {
  for (const std::int64_t size : {std::int64_t{5}, std::int64_t{4097}, std::int64_t{50'001}}) {
    std::vector<float> values(static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto place = static_cast<float>(i + 1);
      values[i] = std::sin(place * static_cast<float>(test_world().rank() + 1)) * std::exp(std::fmod(place, 19.0f));
    }
    test_world().all_reduce(view_of(std::span(values), {size}), Reduction::kSum, Event{});
    expect_same_bytes(test_world(), values, "sum");
  }
}

TEST(Communicator, AllReduceGivesTheSameBitsOnEveryRankWhereSomeAreNotNumbers) {
  const int rank = test_world().rank();
  for (const Reduction reduction : {Reduction::kSum, Reduction::kMax, Reduction::kMin}) {
    for (const std::int64_t size : {3, 9000}) {
      // Each rank has its own NaN at its own places, so that operands in another order give other bits.
      std::vector<float> values(static_cast<std::size_t>(size), static_cast<float>(rank));
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (static_cast<int>(i) % 3 <= rank)
          values[i] = std::bit_cast<float>(0x7fc00000u + static_cast<unsigned>(rank));
      }
      test_world().all_reduce(view_of(std::span(values), {size}), reduction, Event{});
      expect_same_bytes(test_world(), values, "with NaN");
    }
  }
}

TEST(Communicator, SumCarriesNotANumberToEveryRank) {
  const bool last = test_world().rank() == test_world().size() - 1;
  EXPECT_TRUE(std::isnan(test_world().all_reduce(last ? std::nan("") : 1.0, Reduction::kSum)));
}

TEST(Communicator, AllReduceOfOneValueReturnsIt) {
  const int rank = test_world().rank(), size = test_world().size();
  EXPECT_EQ(test_world().all_reduce(rank + 0.5, Reduction::kSum), 0.5 * size * (size - 1) + 0.5 * size);
  EXPECT_EQ(test_world().all_reduce(std::int64_t{rank} - 7, Reduction::kMin), -7);
  EXPECT_EQ(test_world().all_reduce((std::int64_t{1} << 60) + rank, Reduction::kMax),
            (std::int64_t{1} << 60) + size - 1);
}

TEST(Communicator, AllReduceRefusesTypesWithoutArithmetic) {
  std::vector<std::uint8_t> bytes(4);
  EXPECT_THROW(test_world().all_reduce(view_of(std::span(bytes), {4}), Reduction::kSum, Event{}), Error);
}

TEST(Communicator, RefusesAnEventThatHasNotPassed) {
  float value = 1;
  const Event pending{std::make_shared<int>(0)};
  EXPECT_THROW(test_world().all_reduce(view_of(std::span(&value, 1), {1}), Reduction::kSum, pending), Error);
  EXPECT_THROW(test_world().broadcast(view_of(std::span(&value, 1), {1}), 0, pending), Error);
}

void expect_broadcast_from_every_root(Communicator& group, std::int64_t size) {
  for (int root = 0; root < group.size(); ++root) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(size), group.rank() - 100);
    if (group.rank() == root) std::iota(values.begin(), values.end(), root * 1000);
    group.broadcast(view_of(std::span(values), {size}), root, Event{});
    std::vector<std::int32_t> wanted(values.size());
    std::iota(wanted.begin(), wanted.end(), root * 1000);
    EXPECT_TRUE(values == wanted) << "root " << root << ", size " << size;
  }
}

TEST(Communicator, BroadcastGivesTheRootsValuesToAll) {
  for (const std::int64_t size : kSizes) expect_broadcast_from_every_root(test_world(), size);
}

TEST(Communicator, BroadcastInPiecesMissesNoByte) {
  MpiCommunicator pieces = world_in_pieces(13);
  for (const std::int64_t size : {0, 1, 17, 127}) expect_broadcast_from_every_root(pieces, size);
}

TEST(Communicator, BroadcastOfTextTakesTheRootsWithItsLength) {
  const int last = test_world().size() - 1;
  const std::string mine(static_cast<std::size_t>(test_world().rank()) * 3 + 1, 'x');
  EXPECT_EQ(test_world().broadcast(mine, last), std::string(static_cast<std::size_t>(last) * 3 + 1, 'x'));
  EXPECT_EQ(test_world().broadcast(test_world().rank() == 0 ? "" : "other", 0), "");
}

void expect_gather_on_every_root(Communicator& group) {
  for (int root = 0; root < group.size(); ++root) {
    // Rank r gives r * 11 bytes, so rank 0 gives none.
    const std::vector<std::byte> mine(static_cast<std::size_t>(group.rank()) * 11, std::byte(group.rank() + 1));
    const auto all = group.gather(mine, root);
    EXPECT_EQ(all.size(), static_cast<std::size_t>(group.rank() == root ? group.size() : 0));
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      EXPECT_TRUE(all[rank] == std::vector<std::byte>(rank * 11, std::byte(rank + 1))) << "root " << root;
    }
  }
}

TEST(Communicator, GatherBringsEveryRanksBytesInRankOrderToTheRootOnly) {
  expect_gather_on_every_root(test_world());
  MpiCommunicator pieces = world_in_pieces(5);
  expect_gather_on_every_root(pieces);
}

// Ticks of a clock that all processes of a host share.
std::int64_t now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

TEST(Communicator, NobodyLeavesABarrierBeforeTheLastHasEntered) {
  if (test_world().rank() == test_world().size() - 1) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::int64_t entered = now();
  test_world().barrier();
  const std::int64_t left = now();
  EXPECT_GE(test_world().all_reduce(left, Reduction::kMin), test_world().all_reduce(entered, Reduction::kMax));
}

TEST(Communicator, SplitGroupsByColorAndNumbersByKey) {
  auto& world = dynamic_cast<MpiCommunicator&>(test_world());
  const int rank = world.rank();
  const auto group = world.split(rank % 2, -rank, GroupKind::kData);  // even and odd ranks, each backwards
  std::vector<int> members;
  for (int other = world.size() - 1; other >= 0; --other) {
    if (other % 2 == rank % 2) members.push_back(other);
  }
  EXPECT_EQ(group->size(), static_cast<int>(members.size()));
  EXPECT_EQ(members[static_cast<std::size_t>(group->rank())], rank);
  EXPECT_EQ(group->all_reduce(std::int64_t{rank}, Reduction::kSum), std::accumulate(members.begin(), members.end(), 0));
}

TEST(Communicator, MpiFailuresBecomeErrorsWithTheirText) {
  try {
    SHARDORA_CHECK(MPI_ERR_COUNT);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    EXPECT_THAT(error.what(), testing::HasSubstr("MPI failed: MPI_ERR_COUNT"));
  }
}

}  // namespace
}  // namespace shardora
