// Which device a rank takes, as arithmetic and as all ranks agree on it.
#include "runtime/comm/device_choice.h"

#include <gmock/gmock.h>

#include "runtime/comm/agreement.h"
#include "tests/distributed/nccl/device_test.h"

namespace shardora::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<int> indices(const std::vector<RankDevices>& ranks, bool share, bool shared = false) {
  std::vector<int> found;
  for (const DeviceChoice& choice : choose_devices(ranks, share)) {
    found.push_back(choice.index);
    EXPECT_EQ(choice.shared, shared);
  }
  return found;
}

std::string refusal(const std::vector<RankDevices>& ranks) {
  try {
    choose_devices(ranks, false);
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ChooseDevices, RanksThatSeeAllDevicesTakeThatOfTheirNumberOnTheHost) {
  const RankDevices first{0, "a", {"G0", "G1", "G2"}}, second{1, "b", {"G5", "G6"}};
  EXPECT_THAT(indices({first, first, first}, false), ElementsAre(0, 1, 2));
  // Dealt round robin over two hosts, and with a device to spare.
  EXPECT_THAT(indices({first, second, first, second}, true), ElementsAre(0, 0, 1, 1));
}

TEST(ChooseDevices, RanksThatSeeOneDeviceEachTakeIt) {
  EXPECT_THAT(indices({{0, "a", {"G0"}}, {0, "a", {"G1"}}, {0, "a", {"G2"}}}, false), ElementsAre(0, 0, 0));
}

TEST(ChooseDevices, RanksOfOneHostThatSeePartsOfItTakeEachTheirOwn) {
  EXPECT_THAT(indices({{0, "a", {"G0", "G1"}}, {0, "a", {"G0", "G1"}}, {0, "a", {"G2", "G3"}}}, false),
              ElementsAre(0, 1, 0));
}

TEST(ChooseDevices, TwoRanksOnOneDeviceByAccidentAreRefusedWithWhoWhereAndWhatToDo) {
  const RankDevices one{0, "node7", {"GPU-ab12"}};
  EXPECT_THAT(refusal({{1, "node8", {"GPU-cd34"}}, one, one}),
              AllOf(HasSubstr("host node7 for rank 2, one of 2 there"), HasSubstr("GPU-ab12 has rank 1"),
                    HasSubstr("parallel.share_devices = true"), Not(HasSubstr("node8"))));
  const RankDevices two{0, "node7", {"GPU-ab12", "GPU-ef56"}};
  EXPECT_THAT(refusal({two, two, two}),
              AllOf(HasSubstr("it sees 2 (GPU-ab12 has rank 0, GPU-ef56 has rank 1)"), HasSubstr("for rank 2")));
}

TEST(ChooseDevices, OnPurposeRanksShareEvenly) {
  const RankDevices two{0, "a", {"G0", "G1"}};
  EXPECT_THAT(indices({two, two, two, two}, true, true), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(indices({two, two}, true, false), ElementsAre(0, 1));
  const RankDevices other{1, "b", {"G5"}};
  EXPECT_THAT(indices({other, two, other, two}, true, true), ElementsAre(0, 0, 0, 1));
}

std::vector<CudaDevice> seen(int count) {
  std::vector<CudaDevice> devices;
  devices.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) devices.push_back({.name = "H", .identifier = fmt::format("GPU-{:02}", i)});
  return devices;
}

TEST(ChooseDevice, GivesEachRankItsOwnOfTheHosts) {
  const int rank = test_world().rank(), size = test_world().size();
  const DeviceChoice choice = choose_device(test_world(), mpi_session().host_group(), seen(size), false);
  EXPECT_EQ(choice.index, rank);
  EXPECT_FALSE(choice.shared);
}

TEST(ChooseDevice, TooFewAreRefusedOnEveryRankAndToldByOne) {
  const int size = test_world().size();
  if (size == 1) GTEST_SKIP() << "one rank needs one device";
  std::string message = "nothing was thrown";
  try {
    choose_device(test_world(), mpi_session().host_group(), seen(size - 1), false);
  } catch (const AgreedError& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    message = error.what();
  }
  if (test_world().rank() == 0) {
    EXPECT_THAT(message, AllOf(HasSubstr(fmt::format("for rank {}", size - 1)), HasSubstr("GPU-00 has rank 0")));
  } else {
    EXPECT_EQ(message, "");
  }
  const DeviceChoice shared = choose_device(test_world(), mpi_session().host_group(), seen(size - 1), true);
  EXPECT_EQ(shared.index, test_world().rank() % (size - 1));
  EXPECT_TRUE(shared.shared);
}

}  // namespace
}  // namespace shardora::testing
