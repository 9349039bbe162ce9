// The self-test's own eyes: a communicator that does nothing must be seen to be wrong.
#include "runtime/jobs/doctor/collectives.h"

#include <gmock/gmock.h>

#include "runtime/comm/dry_run_communicator.h"

namespace shardora {
namespace {

TEST(TestCollectives, SeesThatASumWasNotMadeAndStopsThere) {
  DryRunCommunicator world(0, 2), alone(0, 1);
  const ProcessGrid grid{.hosts = {0, 0}, .world = &world, .data_group = &alone, .tensor_group = &world};
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  std::vector<std::string> said;
  const std::vector<GroupTest> tests =
      test_collectives(grid, *backend, [&](const auto& what) { said.push_back(what); });
  ASSERT_EQ(tests.size(), 2U);  // the data group has one rank
  EXPECT_EQ(tests[0].group, "world");
  EXPECT_EQ(tests[1].group, "tensor");
  for (const GroupTest& test : tests) {
    EXPECT_EQ(test.wrong, "rank 0: element 0 is 1, expected 3");
    EXPECT_EQ(test.sums.size(), 1U);
    EXPECT_FALSE(test.crosses_hosts);
  }
  EXPECT_THAT(said, testing::ElementsAre("sums over the world group, 4 KiB", "sums over the tensor groups, 4 KiB"));
}

TEST(MeasureCopies, MeasuresSomething) {
  DryRunCommunicator alone(0, 1);
  EXPECT_GT(measure_copies(alone), 1e6);
}

}  // namespace
}  // namespace shardora
