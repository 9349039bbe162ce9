// The grid's arithmetic, then the grid that the session makes of this world.
#include "runtime/comm/process_grid.h"

#include <gmock/gmock.h>

#include "runtime/comm/agreement.h"
#include "tests/support/mpi_test.h"

namespace shardora {

bool operator==(const GridPlace& a, const GridPlace& b) { return a.data == b.data && a.tensor == b.tensor; }

namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PlaceRanks, TensorRanksAreNeighboursAndDataRanksAreApart) {
  EXPECT_THAT(place_ranks({0, 0, 0, 0, 0, 0}, 2), ElementsAre(GridPlace{0, 0}, GridPlace{0, 1}, GridPlace{1, 0},
                                                              GridPlace{1, 1}, GridPlace{2, 0}, GridPlace{2, 1}));
  EXPECT_THAT(place_ranks({0, 0, 0}, 1), ElementsAre(GridPlace{0, 0}, GridPlace{1, 0}, GridPlace{2, 0}));
  EXPECT_THAT(place_ranks({0, 0, 0}, 3), ElementsAre(GridPlace{0, 0}, GridPlace{0, 1}, GridPlace{0, 2}));
}

TEST(PlaceRanks, TensorGroupsStayOnOneHostWhereTheLauncherDealtRanksRoundRobin) {
  EXPECT_THAT(place_ranks({0, 1, 0, 1}, 2),
              ElementsAre(GridPlace{0, 0}, GridPlace{1, 0}, GridPlace{0, 1}, GridPlace{1, 1}));
}

TEST(PlaceRanks, AHostWithRanksEnoughHoldsWholeTensorGroups) {
  // Hosts of 2, 4 and 2 ranks: sorted by host alone, both groups would span two hosts.
  const std::vector<int> hosts = {0, 0, 1, 1, 1, 1, 2, 2};
  EXPECT_THAT(place_ranks(hosts, 4), ElementsAre(GridPlace{0, 0}, GridPlace{0, 1}, GridPlace{1, 0}, GridPlace{1, 1},
                                                 GridPlace{1, 2}, GridPlace{1, 3}, GridPlace{0, 2}, GridPlace{0, 3}));
  EXPECT_EQ(place_ranks({1, 0, 0, 0, 1, 1}, 2)[0], (GridPlace{0, 0}));  // rank 0 is the origin
}

TEST(SpreadWarning, SpeaksWhereATensorGroupNeedNotSpanHosts) {
  EXPECT_EQ(spread_warning({0, 1, 0, 1}, 2), "");
  EXPECT_EQ(spread_warning({0, 0, 0, 0}, 4), "");
  EXPECT_EQ(spread_warning({0, 1}, 2), "");  // no host has two ranks: meant so
  EXPECT_THAT(spread_warning({0, 0, 0, 1}, 2), HasSubstr("1 of 2 tensor groups"));
  EXPECT_THAT(spread_warning({0, 0, 1, 1, 1, 1, 2, 2}, 4), HasSubstr("start a multiple of 4 ranks on each host"));
}

TEST(PlaceRanks, RefusesASizeThatDoesNotDivideAndNamesThoseThatDo) {
  for (const int tensor : {-1, 0, 4, 5, 12}) {
    try {
      place_ranks({0, 0, 0, 0, 0, 0}, tensor);
      ADD_FAILURE() << "tensor = " << tensor << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::kUsage);
      EXPECT_THAT(error.what(), HasSubstr("expected one of 1, 2, 3, 6"));
      EXPECT_THAT(error.what(), HasSubstr("parallel.tensor = " + std::to_string(tensor)));
    }
  }
}

void expect_whole_grid(int tensor) {
  const ProcessGrid& grid = mpi_session().make_grid({.tensor = tensor});
  const int rank = test_world().rank(), size = test_world().size();
  EXPECT_EQ(grid.world->rank(), rank);
  EXPECT_EQ(grid.tensor.size, tensor);
  EXPECT_EQ(grid.data.size, size / tensor);
  EXPECT_EQ(grid.pipeline.size, 1);
  EXPECT_EQ(grid.tensor.rank, rank % tensor);
  EXPECT_EQ(grid.data.rank, rank / tensor);
  EXPECT_EQ(grid.tensor_group->size(), tensor);
  EXPECT_EQ(grid.tensor_group->rank(), grid.tensor.rank);
  EXPECT_EQ(grid.data_group->size(), size / tensor);
  EXPECT_EQ(grid.data_group->rank(), grid.data.rank);
  // Who really is in each group: every rank puts one bit.
  const std::int64_t bit = std::int64_t{1} << rank;
  std::int64_t tensor_members = 0, data_members = 0;
  for (int other = 0; other < size; ++other) {
    if (other / tensor == rank / tensor) tensor_members |= std::int64_t{1} << other;
    if (other % tensor == rank % tensor) data_members |= std::int64_t{1} << other;
  }
  EXPECT_EQ(grid.tensor_group->all_reduce(bit, Reduction::kSum), tensor_members);
  EXPECT_EQ(grid.data_group->all_reduce(bit, Reduction::kSum), data_members);
}

TEST(MakeGrid, SplitsTheWorldAtEverySizeThatDividesIt) {
  for (int tensor = 1; tensor <= test_world().size(); ++tensor) {
    if (test_world().size() % tensor == 0) expect_whole_grid(tensor);
  }
}

TEST(MakeGrid, AWrongSizeIsRefusedOnEveryRankAndToldByOne) {
  const int tensor = test_world().size() + 1;
  std::string message = "nothing was thrown";
  try {
    mpi_session().make_grid({.tensor = tensor});
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUsage);
    message = error.what();
  }
  if (test_world().rank() == 0) {
    EXPECT_THAT(message, HasSubstr("parallel.tensor"));
  } else {
    EXPECT_EQ(message, "");
  }
}

TEST(MpiSession, KnowsTheRanksOfThisHost) {
  EXPECT_EQ(mpi_session().host_local_rank(), test_world().rank());  // tests run on one host
  EXPECT_EQ(mpi_session().host_local_size(), test_world().size());
}

}  // namespace
}  // namespace shardora
