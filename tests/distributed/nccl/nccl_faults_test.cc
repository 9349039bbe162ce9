// What NCCL may do besides what is asked: take its time, fail, say nothing. Each ends as it should, within its time.
#include <gmock/gmock.h>

#include "runtime/comm/agreement.h"
#include "runtime/comm/mpi_communicator.h"
#include "runtime/comm/nccl_communicator.h"
#include "runtime/watchdog/flight_record.h"
#include "tests/distributed/nccl/device_test.h"

namespace shardora::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kRemoteError = 6, kInvalidUsage = 5, kSystemError = 2;
constexpr double kSoon = 5;  // for what is limited to a fraction of a second, on a busy machine
const nccl::Limits kShort{.init_seconds = 0.3, .seconds = 0.3, .teardown_seconds = 0.3};

class NcclFaults : public DeviceTest {
 protected:
  void SetUp() override {
    if (test_world().size() == 1) GTEST_SKIP() << "one rank never calls NCCL";
  }
  // All of them wait for all: a rank that is done must not take away what its peers still use.
  void TearDown() override { test_world().barrier(); }

  std::unique_ptr<NcclCommunicator> make_group(const nccl::Limits& limits = kShort) {
    return std::make_unique<NcclCommunicator>(library(), device_, test_world(), "tensor group", limits, &record_,
                                              GroupKind::kDeviceTensor);
  }
  Event reduce(Communicator& group) { return group.all_reduce(values_.view(), Reduction::kSum, device_.record()); }
  // Status and message of what the action throws.
  template <class Action>
  std::pair<ExitStatus, std::string> thrown(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      return {error.status(), error.what()};
    }
    return {ExitStatus::kDone, "nothing was thrown"};
  }
  std::string place() const { return fmt::format("rank {} of {}", test_world().rank(), test_world().size()); }

  FlightRecord record_;
  DeviceValues<float> values_{device_, std::vector<float>(17, 1.0F), DType::kF32};
};

TEST_F(NcclFaults, AStartThatNeverEndsIsGivenUpInTimeAndLeavesNothing) {
  stand_in().init_polls = kForEver;
  const auto start = std::chrono::steady_clock::now();
  const auto [status, message] = thrown([&] { make_group(); });
  EXPECT_EQ(status, ExitStatus::kUnavailable);
  EXPECT_THAT(message, AllOf(HasSubstr("tensor group"), HasSubstr(place()), HasSubstr("0.3 s"),
                             HasSubstr("parallel.communicator = host")));
  EXPECT_GE(seconds_since(start), 0.3);
  EXPECT_LT(seconds_since(start), kSoon);
  EXPECT_EQ(stand_in().counts.aborts, 1);
  EXPECT_EQ(stand_in().counts.alive, 0);
}

TEST_F(NcclFaults, AStartThatFailsSaysWhatNcclSays) {
  stand_in().init_polls = 2;
  stand_in().async_error = kSystemError;
  const auto [status, message] = thrown([&] { make_group(); });
  EXPECT_EQ(status, ExitStatus::kUnavailable);
  EXPECT_THAT(message, AllOf(HasSubstr("NCCL 2.28.9 could not start"), HasSubstr("the stand-in's last word")));
  stand_in().async_error = 0;
  EXPECT_EQ(stand_in().counts.alive, 0);
}

TEST_F(NcclFaults, AnIdThatRankZeroCannotMakeIsKnownToAll) {
  if (test_world().rank() == 0) stand_in().unique_id_result = kSystemError;
  const auto [status, message] = thrown([&] { make_group(); });
  EXPECT_EQ(status, ExitStatus::kUnavailable);
  EXPECT_THAT(message, HasSubstr("ncclGetUniqueId"));
  EXPECT_EQ(stand_in().counts.inits, 0);
}

TEST_F(NcclFaults, ACallThatIsNeverSettledIsALostPeerAndEndsByAbort) {
  {
    const auto group = make_group();
    stand_in().collective_polls = kForEver;
    const auto start = std::chrono::steady_clock::now();
    const auto [status, message] = thrown([&] { reduce(*group); });
    EXPECT_EQ(status, ExitStatus::kStoppedEarly);
    EXPECT_THAT(message, AllOf(HasSubstr("tensor group"), HasSubstr(place()), HasSubstr("all-reduce"),
                               HasSubstr("did not end within 0.3 s")));
    EXPECT_LT(seconds_since(start), kSoon);
  }
  EXPECT_EQ(stand_in().counts.aborts, 1);
  EXPECT_EQ(stand_in().counts.finalizes, 0);
  EXPECT_EQ(stand_in().counts.alive, 0);
}

TEST_F(NcclFaults, AnErrorBetweenCallsIsFoundByTheNextOne) {
  const auto group = make_group();
  device_.wait(reduce(*group));
  device_.synchronize();
  stand_in().async_error = kRemoteError;
  const auto [status, message] = thrown([&] { group->broadcast(values_.view(), 0, device_.record()); });
  EXPECT_EQ(status, ExitStatus::kStoppedEarly);
  EXPECT_THAT(message, AllOf(HasSubstr("tensor group"), HasSubstr("remote process exited")));
  EXPECT_EQ(stand_in().counts.collectives, 1);
  stand_in().async_error = 0;
}

TEST_F(NcclFaults, ACallThatFailsAtOnceNamesItself) {
  const auto group = make_group();
  stand_in().collective_result = kInvalidUsage;
  const auto [status, message] = thrown([&] { group->broadcast(values_.view(), 0, device_.record()); });
  EXPECT_EQ(status, ExitStatus::kUnavailable);
  EXPECT_THAT(message, AllOf(HasSubstr("broadcast failed"), HasSubstr("tensor group")));
}

TEST_F(NcclFaults, AWaitOfTheHostEndsWhereAPeerIsLost) {
  const auto group = make_group({.seconds = 1e6, .teardown_seconds = 0.3});
  stand_in().collectives_stick = true;
  const Event end = reduce(*group);
  stand_in().async_error = kRemoteError;
  Communicator* const groups[] = {group.get()};
  const auto [status, message] = thrown([&] { wait_on_host(device_, end, groups); });
  EXPECT_EQ(status, ExitStatus::kStoppedEarly);
  EXPECT_THAT(message, AllOf(HasSubstr("all-reduce"), HasSubstr("tensor group")));
  stand_in().async_error = 0;
}

TEST_F(NcclFaults, AWaitOfTheHostEndsWhereACollectiveDoesNot) {
  const auto group = make_group();
  stand_in().collectives_stick = true;
  const Event end = reduce(*group);
  Communicator* const groups[] = {group.get()};
  const auto start = std::chrono::steady_clock::now();
  const auto [status, message] = thrown([&] { wait_on_host(device_, end, groups); });
  EXPECT_EQ(status, ExitStatus::kStoppedEarly);
  EXPECT_THAT(message, HasSubstr("all-reduce did not end"));
  EXPECT_GE(seconds_since(start), 0.3);
  EXPECT_LT(seconds_since(start), kSoon);
}

TEST_F(NcclFaults, TheObserverHearsInWhatTheHostWaits) {
  const auto group = make_group();
  EXPECT_EQ(describe(record_.latest()), "the start of NCCL");
  EXPECT_FALSE(record_.waits());
  device_.wait(reduce(*group));
  device_.synchronize();
  stand_in().collectives_stick = true;
  reduce(*group);
  EXPECT_FALSE(record_.waits());  // the host has other work
  group->check(true);
  EXPECT_TRUE(record_.waits());
  EXPECT_EQ(describe(record_.latest()), "all-reduce of 17 float32");
  EXPECT_EQ(record_.latest().sequence, 3);  // after the start, and one that has passed
  EXPECT_EQ(record_.latest().group, GroupKind::kDeviceTensor);
}

TEST_F(NcclFaults, TheObserverHearsThatAWaitIsOver) {
  const auto group = make_group();
  stand_in().collectives_stick = true;
  const Event end = reduce(*group);
  group->check(true);
  EXPECT_TRUE(record_.waits());
  unstuck_ = true;
  Communicator* const groups[] = {group.get()};
  wait_on_host(device_, end, groups);
  EXPECT_FALSE(record_.waits());
}

TEST_F(NcclFaults, TheObserverHearsOfNoWaitDuringOwnWorkNorForWhatHasPassed) {
  StateSlot slot;
  record_.publish_to(slot);
  const auto group = make_group();
  bool open = false;
  device_.queue().add_gate(open);
  reduce(*group);
  group->check(true);
  EXPECT_FALSE(record_.waits());
  open = true;
  group->check(true);
  EXPECT_FALSE(record_.waits());
  RankState state;
  ASSERT_TRUE(slot.read(state));
  EXPECT_EQ(state.entered[static_cast<std::size_t>(GroupKind::kDeviceTensor)], 2);  // the start and this one
}

TEST_F(NcclFaults, TheObserverHearsOfACallThatIsNotSettled) {
  const auto group = make_group();
  stand_in().collective_polls = kForEver;
  thrown([&] { reduce(*group); });
  EXPECT_TRUE(record_.waits());
  EXPECT_EQ(describe(record_.latest()), "all-reduce of 17 float32");
}

TEST_F(NcclFaults, WorkOfThisRankBeforeACollectiveIsNotCountedAgainstIt) {
  const auto group = make_group();
  bool open = false;
  device_.queue().add_gate(open);
  const Event end = reduce(*group);
  const auto start = std::chrono::steady_clock::now();
  while (seconds_since(start) < 0.6) EXPECT_NO_THROW(group->check(true));
  open = true;
  Communicator* const groups[] = {group.get()};
  EXPECT_NO_THROW(wait_on_host(device_, end, groups));
}

TEST_F(NcclFaults, AHealthyGroupIsFinalizedAndDestroyed) {
  stand_in().finalize_polls = 4;
  {
    const auto group = make_group();
    device_.wait(reduce(*group));
    device_.synchronize();
  }
  EXPECT_EQ(stand_in().counts.finalizes, 1);
  EXPECT_EQ(stand_in().counts.destroys, 1);
  EXPECT_EQ(stand_in().counts.aborts, 0);
  EXPECT_EQ(stand_in().counts.alive, 0);
}

TEST_F(NcclFaults, AFinalizeThatNeverEndsBecomesAnAbort) {
  stand_in().finalize_polls = kForEver;
  const auto start = std::chrono::steady_clock::now();
  { make_group(); }
  EXPECT_LT(seconds_since(start), kSoon);
  EXPECT_EQ(stand_in().counts.destroys, 0);
  EXPECT_EQ(stand_in().counts.aborts, 1);
  EXPECT_EQ(stand_in().counts.alive, 0);
}

TEST_F(NcclFaults, AnAbortThatNeverEndsIsLeftAlone) {
  stand_in().finalize_polls = stand_in().abort_polls = kForEver;
  const auto start = std::chrono::steady_clock::now();
  { make_group(); }
  EXPECT_LT(seconds_since(start), kSoon);
  EXPECT_EQ(stand_in().counts.aborts, 1);
}

TEST_F(NcclFaults, AnExceptionOnItsWayAbortsInsteadOfWaitingForPeers) {
  stand_in().finalize_polls = kForEver;
  const auto [status, message] = thrown([&] {
    const auto group = make_group({.teardown_seconds = 1e6});
    refuse(ExitStatus::kIo, "of another kind");
  });
  EXPECT_EQ(status, ExitStatus::kIo);
  EXPECT_EQ(stand_in().counts.finalizes, 0);
  EXPECT_EQ(stand_in().counts.aborts, 1);
  EXPECT_EQ(stand_in().counts.alive, 0);
}

// Made while an exception passes, as in a clean-up, it still ends in health.
TEST_F(NcclFaults, AGroupMadeWhileAnExceptionPassesIsNoVictimOfIt) {
  struct Guard {
    std::function<void()> make;
    ~Guard() { make(); }
  };
  try {
    const Guard guard{[this] { make_group(); }};
    throw std::runtime_error("passing");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(stand_in().counts.destroys, 1);
  EXPECT_EQ(stand_in().counts.aborts, 0);
}

TEST_F(DeviceTest, AGroupOfOneRankNeverCallsNccl) {
  const auto alone = dynamic_cast<MpiCommunicator&>(test_world()).split(test_world().rank(), 0, GroupKind::kData);
  {
    NcclCommunicator group(library(), device_, *alone, "data group");
    DeviceValues<float> values(device_, {1, 2, 3}, DType::kF32);
    device_.wait(group.all_reduce(values.view(), Reduction::kSum, device_.record()));
    device_.wait(group.broadcast(values.view(), 0, device_.record()));
    group.check(true);
    EXPECT_EQ(values.read(), (std::vector<float>{1, 2, 3}));
  }
  EXPECT_EQ(stand_in().counts.inits, 0);
  EXPECT_EQ(stand_in().counts.collectives, 0);
  EXPECT_EQ(stand_in().counts.finalizes, 0);
  EXPECT_EQ(stand_in().counts.destroys, 0);
  EXPECT_EQ(stand_in().counts.aborts, 0);
}

}  // namespace
}  // namespace shardora::testing
