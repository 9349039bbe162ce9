// A write in the background: its seconds or its error, and whether it is at work meanwhile.
#include "runtime/run/background_write.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

namespace shardora {
namespace {

using std::chrono::milliseconds;

TEST(BackgroundWrite, GivesItsSecondsOnce) {
  BackgroundWrite write;
  EXPECT_FALSE(write.pending());
  write.start([] { return 2.5; });
  EXPECT_TRUE(write.pending());
  EXPECT_EQ(write.wait([] {}), 2.5);
  EXPECT_FALSE(write.pending());
  EXPECT_FALSE(write.ended());
}

TEST(BackgroundWrite, PassesItsErrorOn) {
  BackgroundWrite write;
  write.start([]() -> double { throw std::runtime_error("no room"); });
  EXPECT_THROW(write.wait([] {}), std::runtime_error);
  EXPECT_FALSE(write.pending());
}

TEST(BackgroundWrite, IsAtWorkWhileItsThreadIs) {
  BackgroundWrite write;
  std::atomic<int> told = 0;
  write.start([&told] {
    while (told < 3) {
    }
    return 1.0;
  });
  EXPECT_EQ(write.wait([&told] { ++told; }, milliseconds(10)), 1.0);
  EXPECT_GE(told, 3);
}

TEST(BackgroundWrite, OneThatStandsStillIsNoProgress) {
  BackgroundWrite write;
  int told = 0;
  write.start([] {
    std::this_thread::sleep_for(milliseconds(300));
    return 1.0;
  });
  write.wait([&told] { ++told; }, milliseconds(20));
  EXPECT_LE(told, 2);  // on its way into the sleep, and out of it
}

}  // namespace
}  // namespace shardora
