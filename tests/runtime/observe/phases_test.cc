// The phases of a step: what is charged to which, and that nothing is lost.
#include "runtime/observe/phases.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "runtime/observe/metrics.h"

namespace shardora {
namespace {

void pass_milliseconds(int count) { std::this_thread::sleep_for(std::chrono::milliseconds(count)); }

double of(const PhaseSeconds& seconds, Phase phase) { return seconds[static_cast<std::size_t>(phase)]; }

TEST(PhaseClock, ChargesEachPhaseWithItsOwnTimeHoweverOftenItIsEntered) {
  PhaseClock clock;
  clock.enter(Phase::kForward);
  pass_milliseconds(3);
  clock.enter(Phase::kBackward);
  pass_milliseconds(5);
  clock.enter(Phase::kForward);
  pass_milliseconds(4);
  const PhaseSeconds seconds = clock.read();
  EXPECT_GE(of(seconds, Phase::kForward), 0.007);
  EXPECT_GE(of(seconds, Phase::kBackward), 0.005);
  EXPECT_EQ(of(seconds, Phase::kNorms), 0);
  EXPECT_EQ(of(seconds, Phase::kOptimizer), 0);
}

TEST(PhaseClock, ThePhasesAddUpToTheTimeThatPassed) {
  const double before = monotonic_seconds();
  PhaseClock clock;
  const double begin = monotonic_seconds();
  pass_milliseconds(2);
  clock.enter(Phase::kNorms);
  pass_milliseconds(2);
  const double end = monotonic_seconds();
  clock.read();
  EXPECT_GE(clock.total(), end - begin);
  EXPECT_LE(clock.total(), monotonic_seconds() - before);
}

}  // namespace
}  // namespace shardora
