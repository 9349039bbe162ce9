// Which communicator a grid gets, why, and what is said of it.
#include "runtime/comm/device_groups.h"

#include <gmock/gmock.h>

#include <cstdlib>

#include "runtime/comm/agreement.h"
#include "tests/distributed/nccl/device_test.h"

namespace shardora::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class DeviceGroupsChoice : public DeviceTest {
 protected:
  const ProcessGrid& grid() { return mpi_session().make_grid({.tensor = test_world().size() % 2 == 0 ? 2 : 1}); }
  DeviceGroupsPlan plan(const std::string& communicator) {
    return {.communicator = communicator, .nccl_library = SHARDORA_STAND_IN_NCCL, .limits = {.init_seconds = 0.3}};
  }
  // Ranks in this rank's groups, as sums on the device find them.
  void expect_sums(const ProcessGrid& groups) {
    DeviceValues<float> ones(device_, std::vector<float>(5, 1.0F), DType::kF32);
    device_.wait(groups.tensor_group->all_reduce(ones.view(), Reduction::kSum, device_.record()));
    device_.wait(groups.data_group->all_reduce(ones.view(), Reduction::kSum, device_.record()));
    EXPECT_EQ(ones.read(), std::vector<float>(5, static_cast<float>(test_world().size())));
  }
  // What refuses, on rank 0; the others must be as silent as they are refused.
  std::string refusal(const DeviceGroupsPlan& asked, Backend& backend) {
    try {
      const DeviceGroups groups(grid(), backend, asked);
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
      if (test_world().rank() == 0) return error.what();
      EXPECT_STREQ(error.what(), "");
    }
    return "nothing was thrown";
  }
  void expect_refusal(const DeviceGroupsPlan& asked, Backend& backend, const ::testing::Matcher<std::string>& message) {
    const std::string told = refusal(asked, backend);
    if (test_world().rank() == 0) {
      EXPECT_THAT(told, message);
    }
  }
};

TEST_F(DeviceGroupsChoice, AutoTakesNcclWhereItIsUsable) {
  if (test_world().size() == 1) GTEST_SKIP() << "one rank needs no communicator";
  const DeviceGroups groups(grid(), device_, plan("auto"));
  EXPECT_EQ(groups.description(), "communicator: NCCL 2.28.9");
  EXPECT_GT(stand_in().counts.inits, 0);
  EXPECT_EQ(groups.grid().world, &test_world());
  EXPECT_EQ(groups.grid().tensor.size, grid().tensor.size);
  expect_sums(groups.grid());
  EXPECT_GT(stand_in().counts.collectives, 0);
}

TEST_F(DeviceGroupsChoice, OneRankAloneAsksForNothing) {
  if (test_world().size() > 1) GTEST_SKIP() << "there are peers";
  DeviceGroupsPlan alone = plan("auto");
  alone.nccl_library = "/nowhere/libnccl.so.2";
  const DeviceGroups groups(grid(), device_, alone);
  EXPECT_EQ(groups.description(), "communicator: none, one rank");
  expect_sums(groups.grid());
}

TEST_F(DeviceGroupsChoice, HostIsTakenWhereItIsAskedFor) {
  const DeviceGroups groups(grid(), device_, plan("host"));
  if (test_world().size() > 1) {
    EXPECT_EQ(groups.description(), "communicator: host memory through MPI (asked for)");
  }
  expect_sums(groups.grid());
  EXPECT_EQ(stand_in().counts.inits, 0);
}

TEST_F(DeviceGroupsChoice, AutoGoesThroughTheHostAndSaysWhy) {
  if (test_world().size() == 1) GTEST_SKIP() << "one rank needs no communicator";
  DeviceGroupsPlan shared = plan("auto"), missing = plan("auto");
  shared.devices_shared = true;
  missing.nccl_library = "/nowhere/libnccl.so.2";
  for (const auto& [asked, why] : {std::pair(shared, "share a device"), std::pair(missing, "found none (/nowhere")}) {
    const DeviceGroups groups(grid(), device_, asked);
    EXPECT_THAT(groups.description(),
                AllOf(StartsWith("communicator: host memory through MPI (NCCL: "), HasSubstr(why)));
    expect_sums(groups.grid());
  }
  EXPECT_EQ(stand_in().counts.inits, 0);
}

TEST_F(DeviceGroupsChoice, ALibraryThatOneRankAloneHasIsNoLibrary) {
  if (test_world().size() == 1) GTEST_SKIP() << "one rank needs no communicator";
  DeviceGroupsPlan mine = plan("auto");
  if (test_world().rank() == test_world().size() - 1) mine.nccl_library = "/nowhere/libnccl.so.2";
  const DeviceGroups groups(grid(), device_, mine);
  EXPECT_THAT(groups.description(), HasSubstr("/nowhere"));
  expect_sums(groups.grid());
}

TEST_F(DeviceGroupsChoice, NcclThatIsAskedForAndNotUsableIsRefusedEverywhere) {
  DeviceGroupsPlan shared = plan("nccl"), missing = plan("nccl");
  shared.devices_shared = true;
  missing.nccl_library = "/nowhere/libnccl.so.2";
  expect_refusal(shared, device_, AllOf(HasSubstr("parallel.communicator = nccl"), HasSubstr("share a device")));
  expect_refusal(missing, device_,
                 AllOf(HasSubstr("found none"), HasSubstr("needed 2.19.0"), HasSubstr("SHARDORA_NCCL_LIBRARY")));
  const auto cpu = make_backend(BackendKind::kCpu, {.threads = 1});
  expect_refusal(plan("nccl"), *cpu, HasSubstr("needed parallel.backend = cuda"));
}

TEST_F(DeviceGroupsChoice, AnOldNcclIsRefusedWithBothVersions) {
  for (const auto& [version, text] : {std::pair(21805, "2.18.5"), std::pair(2804, "2.8.4")}) {
    stand_in().version = version;
    expect_refusal(plan("nccl"), device_,
                   AllOf(HasSubstr(fmt::format("found {}", text)), HasSubstr("needed 2.19.0"),
                         HasSubstr("parallel.communicator = host")));
  }
}

TEST_F(DeviceGroupsChoice, TwoVersionsOfNcclDoNotMeet) {
  if (test_world().size() == 1) GTEST_SKIP() << "one rank has one version";
  if (test_world().rank() == 1) stand_in().version = 21900;
  expect_refusal(plan("nccl"), device_, AllOf(HasSubstr("21900"), HasSubstr("22809")));
}

TEST_F(DeviceGroupsChoice, AStartThatFailsOnOneRankEndsAllOfThem) {
  if (test_world().size() == 1) GTEST_SKIP() << "one rank never calls NCCL";
  stand_in().init_polls = kForEver;
  expect_refusal(plan("auto"), device_, AllOf(HasSubstr("group, rank 0 of"), HasSubstr("not all ranks arrived")));
  EXPECT_EQ(stand_in().counts.alive, 0);
}

TEST_F(DeviceGroupsChoice, TheCpusGroupsAreTheGridsOwn) {
  const auto cpu = make_backend(BackendKind::kCpu, {.threads = 1});
  const ProcessGrid& hosts = grid();
  const DeviceGroups groups(hosts, *cpu, plan("auto"));
  EXPECT_EQ(groups.grid().tensor_group, hosts.tensor_group);
  EXPECT_EQ(groups.grid().data_group, hosts.data_group);
  EXPECT_EQ(groups.description(), "communicator: MPI");
}

TEST(NcclLibrary, IsNamedByTheEnvironmentOrFoundByTheSystem) {
  setenv("SHARDORA_NCCL_LIBRARY", SHARDORA_STAND_IN_NCCL, 1);
  EXPECT_EQ(nccl::load(nccl::library_path()).description(), "NCCL 2.28.9");
  unsetenv("SHARDORA_NCCL_LIBRARY");
  EXPECT_EQ(nccl::library_path(), "");
}

TEST(NcclLibrary, ALibraryOfSomethingElseIsRefusedByName) {
  try {
    nccl::load("libc.so.6");
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr("libc.so.6 without ncclGetVersion"));
  }
}

}  // namespace
}  // namespace shardora::testing
