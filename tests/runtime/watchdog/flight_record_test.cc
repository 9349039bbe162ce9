#include "runtime/watchdog/flight_record.h"

#include <gmock/gmock.h>

namespace shardora {
namespace {

RankState published(const StateSlot& slot) {
  RankState state;
  EXPECT_TRUE(slot.read(state));
  return state;
}

TEST(FlightRecord, PublishesTheCollectiveThatARankIsIn) {
  StateSlot slot;
  FlightRecord record;
  record.publish_to(slot);
  record.joined(GroupKind::kTensor, 2);
  record.set_activity("step 3");
  record.entered({GroupKind::kTensor, "all_reduce", DType::kF32, 17});
  RankState state = published(slot);
  EXPECT_EQ(state.waiting, static_cast<std::int64_t>(GroupKind::kTensor));
  EXPECT_EQ(state.entered[static_cast<std::size_t>(GroupKind::kTensor)], 1);
  EXPECT_EQ(state.lowest[static_cast<std::size_t>(GroupKind::kTensor)], 2);
  EXPECT_STREQ(state.operation.data(), "all_reduce of 17 float32");
  EXPECT_STREQ(state.activity.data(), "step 3");
  EXPECT_TRUE(record.waits());
  record.left(GroupKind::kTensor);
  EXPECT_EQ(published(slot).waiting, -1);
  EXPECT_FALSE(record.waits());
}

TEST(FlightRecord, EverythingThatHappensIsProgress) {
  StateSlot slot;
  FlightRecord record;
  record.publish_to(slot);
  std::int64_t before = published(slot).progress;
  const auto moved = [&] {
    const std::int64_t now = published(slot).progress;
    return now > std::exchange(before, now);
  };
  record.set_activity("here");
  EXPECT_TRUE(moved());
  record.progressed();
  EXPECT_TRUE(moved());
  record.entered({GroupKind::kWorld, "barrier"});
  EXPECT_TRUE(moved());
  EXPECT_FALSE(moved());
  record.left(GroupKind::kWorld);
  EXPECT_TRUE(moved());
}

constexpr auto kDevice = static_cast<std::size_t>(GroupKind::kDeviceTensor);

TEST(FlightRecord, AWaitForADeviceIsOneHoweverOftenItIsReported) {
  StateSlot slot;
  FlightRecord record;
  record.publish_to(slot);
  record.joined(GroupKind::kTensor, 2);
  record.entered({GroupKind::kDeviceTensor, "all-reduce", DType::kBF16, 17, 5});
  const RankState state = published(slot);
  EXPECT_EQ(state.lowest[kDevice], 2);
  EXPECT_EQ(state.waiting, static_cast<std::int64_t>(kDevice));
  EXPECT_EQ(state.entered[kDevice], 5);
  EXPECT_STREQ(state.operation.data(), "all-reduce of 17 bfloat16");
  record.entered({GroupKind::kDeviceTensor, "all-reduce", DType::kBF16, 17, 5});
  EXPECT_EQ(published(slot).progress, state.progress);
  record.entered({GroupKind::kDeviceTensor, "broadcast", DType::kBF16, 3, 6});
  EXPECT_EQ(published(slot).entered[kDevice], 6);
  record.left(GroupKind::kDeviceTensor);
  EXPECT_FALSE(record.waits());
  EXPECT_EQ(record.last().size(), 2U);
}

TEST(FlightRecord, TheHostWaitsInOneGroupAtATime) {
  FlightRecord record;
  record.entered({GroupKind::kDeviceTensor, "all-reduce", DType::kF32, 17, 1});
  record.entered({GroupKind::kDeviceData, "all-reduce", DType::kF32, 3, 2});
  EXPECT_EQ(record.latest().group, GroupKind::kDeviceTensor);
  record.left(GroupKind::kDeviceData);
  EXPECT_TRUE(record.waits());
}

TEST(FlightRecord, WhatADeviceHasDoneIsProgressOfItsGroup) {
  StateSlot slot;
  FlightRecord record;
  record.publish_to(slot);
  const std::int64_t before = published(slot).progress;
  record.passed(GroupKind::kDeviceTensor, 3);
  EXPECT_GT(published(slot).progress, before);
  EXPECT_EQ(published(slot).entered[kDevice], 3);
  record.passed(GroupKind::kDeviceTensor, 2);
  EXPECT_EQ(published(slot).entered[kDevice], 3);
}

TEST(FlightRecord, KeepsTheLastCollectivesOldestFirst) {
  FlightRecord record;
  for (int i = 1; i <= 100; ++i) {
    record.entered({GroupKind::kData, "broadcast", DType::kU8, i});
    if (i < 100) record.left(GroupKind::kData);
  }
  const std::vector<RecordedCollective> last = record.last();
  ASSERT_EQ(last.size(), 64U);
  EXPECT_EQ(last.front().sequence, 37);
  EXPECT_EQ(last.back().sequence, 100);
  EXPECT_EQ(describe(last.back()), "broadcast of 100 bytes");
  EXPECT_GT(last.front().left, 0);
  EXPECT_EQ(last.back().left, 0);
  EXPECT_EQ(record.latest().count, 100);
}

}  // namespace
}  // namespace shardora
