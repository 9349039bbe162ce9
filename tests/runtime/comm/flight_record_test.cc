#include "runtime/comm/flight_record.h"

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
  record.join(GroupKind::kTensor, 2);
  record.at("step 3");
  record.enter(GroupKind::kTensor, "all_reduce", DType::kF32, 17);
  RankState state = published(slot);
  EXPECT_EQ(state.waiting, static_cast<std::int64_t>(GroupKind::kTensor));
  EXPECT_EQ(state.entered[static_cast<std::size_t>(GroupKind::kTensor)], 1);
  EXPECT_EQ(state.leader[static_cast<std::size_t>(GroupKind::kTensor)], 2);
  EXPECT_STREQ(state.operation.data(), "all_reduce of 17 float32");
  EXPECT_STREQ(state.place.data(), "step 3");
  EXPECT_TRUE(record.waits());
  record.leave();
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
  record.at("here");
  EXPECT_TRUE(moved());
  record.progress();
  EXPECT_TRUE(moved());
  record.enter(GroupKind::kWorld, "barrier", DType::kU8, 0);
  EXPECT_TRUE(moved());
  EXPECT_FALSE(moved());
  record.leave();
  EXPECT_TRUE(moved());
}

constexpr auto kDevice = static_cast<std::size_t>(GroupKind::kDeviceTensor);

TEST(FlightRecord, AWaitForADeviceIsOneHoweverOftenItIsSaid) {
  StateSlot slot;
  FlightRecord record;
  record.publish_to(slot);
  record.join(GroupKind::kTensor, 2);
  record.join_as(GroupKind::kDeviceTensor, GroupKind::kTensor);
  record.wait_in(GroupKind::kDeviceTensor, 5, "all-reduce", DType::kBF16, 17);
  const RankState state = published(slot);
  EXPECT_EQ(state.leader[kDevice], 2);
  EXPECT_EQ(state.waiting, static_cast<std::int64_t>(kDevice));
  EXPECT_EQ(state.entered[kDevice], 5);
  EXPECT_STREQ(state.operation.data(), "all-reduce of 17 bfloat16");
  record.wait_in(GroupKind::kDeviceTensor, 5, "all-reduce", DType::kBF16, 17);
  EXPECT_EQ(published(slot).progress, state.progress);
  record.wait_in(GroupKind::kDeviceTensor, 6, "broadcast", DType::kBF16, 3);
  EXPECT_EQ(published(slot).entered[kDevice], 6);
  record.wait_is_over(GroupKind::kDeviceTensor);
  EXPECT_FALSE(record.waits());
  EXPECT_EQ(record.last().size(), 2U);
}

TEST(FlightRecord, TheHostWaitsInOneGroupAtATime) {
  FlightRecord record;
  record.wait_in(GroupKind::kDeviceTensor, 1, "all-reduce", DType::kF32, 17);
  record.wait_in(GroupKind::kDeviceData, 2, "all-reduce", DType::kF32, 3);
  EXPECT_EQ(record.latest().group, GroupKind::kDeviceTensor);
  record.wait_is_over(GroupKind::kDeviceData);
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
    record.enter(GroupKind::kData, "broadcast", DType::kU8, i);
    if (i < 100) record.leave();
  }
  const std::vector<Collective> last = record.last();
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
