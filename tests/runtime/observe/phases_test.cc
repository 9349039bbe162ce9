// The phases of a step: what is charged to which, that nothing is lost, and whose clock it is.
#include "runtime/observe/phases.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "runtime/system/proc.h"

namespace shardora {
namespace {

void pass_milliseconds(int count) { std::this_thread::sleep_for(std::chrono::milliseconds(count)); }

double of(const PhaseSeconds& seconds, Phase phase) { return seconds[static_cast<std::size_t>(phase)]; }
double total(const PhaseSeconds& seconds) { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

class PhaseClockOnTheCpu : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = make_backend(BackendKind::kCpu, {.threads = 1});
};

TEST_F(PhaseClockOnTheCpu, ChargesEachPhaseWithItsOwnTimeHoweverOftenItIsEntered) {
  PhaseClock clock(*backend_, 4, false);
  { const ProfilerRange data = clock.start(); }
  {
    const ProfilerRange forward = clock.enter(Phase::kForward);
    pass_milliseconds(3);
  }
  {
    const ProfilerRange backward = clock.enter(Phase::kBackward);
    pass_milliseconds(5);
  }
  {
    const ProfilerRange forward = clock.enter(Phase::kForward);
    pass_milliseconds(4);
  }
  clock.stop();
  const PhaseSeconds seconds = clock.read();
  EXPECT_GE(of(seconds, Phase::kForward), 0.007);
  EXPECT_GE(of(seconds, Phase::kBackward), 0.005);
  EXPECT_EQ(of(seconds, Phase::kNorms), 0);
  EXPECT_EQ(of(seconds, Phase::kOptimizer), 0);
}

TEST_F(PhaseClockOnTheCpu, ThePhasesAddUpToTheTimeThatPassed) {
  PhaseClock clock(*backend_, 2, false);
  for (int step = 0; step < 3; ++step) {  // none has anything of the one before
    const double before = monotonic_seconds();
    const ProfilerRange data = clock.start();
    const double begin = monotonic_seconds();
    pass_milliseconds(2);
    const ProfilerRange norms = clock.enter(Phase::kNorms);
    pass_milliseconds(2);
    const double end = monotonic_seconds();
    clock.stop();
    EXPECT_GE(total(clock.read()), end - begin);
    EXPECT_LE(total(clock.read()), monotonic_seconds() - before);
  }
}

TEST_F(PhaseClockOnTheCpu, HasRoomForTheStepsThatItWasMadeFor) {
  PhaseClock clock(*backend_, 2, false);
  const ProfilerRange data = clock.start(), norms = clock.enter(Phase::kNorms);
  clock.stop();
  EXPECT_ANY_THROW(clock.stop());
}

// A device whose work takes as long as a test says, by a clock of its own that the host does not see.
class SlowDevice final : public Backend {
 public:
  void work(double seconds) { now_ += seconds; }

  BackendKind kind() const override { return BackendKind::kCuda; }
  std::string description() const override { return {}; }
  std::string instruction_set() const override { return {}; }
  void* allocate(std::int64_t) override { return nullptr; }
  void release(void*) noexcept override {}
  void* allocate_host(std::int64_t) override { return nullptr; }
  void release_host(void*) noexcept override {}
  void copy_from_host(TensorView, TensorView) override {}
  void copy_to_host(TensorView, TensorView) override {}
  void copy(TensorView, TensorView) override {}
  void zero(TensorView) override {}
  Event record() override { return {}; }
  void wait(const Event&) override {}
  void synchronize() override { waits_ += 1; }
  void wait_on_host(const Event&) override { waits_ += 1; }
  bool passed(const Event&) const override { return false; }
  std::unique_ptr<Queue> make_queue() override { return nullptr; }
  void record_time(TimePoint& point) override {
    if (!point.handle) made_ += 1, point.handle = std::make_shared<double>();
    *static_cast<double*>(point.handle.get()) = now_;
  }
  double seconds_between(const TimePoint& begin, const TimePoint& end) const override {
    return *static_cast<const double*>(end.handle.get()) - *static_cast<const double*>(begin.handle.get());
  }
  int waits() const { return waits_; }
  int made() const { return made_; }

 private:
  double now_ = 100;
  int waits_ = 0, made_ = 0;
};

TEST(PhaseClock, TakesTheDevicesTimeAndNeverMakesTheHostWait) {
  SlowDevice device;
  PhaseClock clock(device, 5, false);
  for (const double scale : {1.0, 2.0}) {
    const ProfilerRange data = clock.start();
    device.work(1 * scale);
    const ProfilerRange forward = clock.enter(Phase::kForward);
    device.work(8 * scale);
    const ProfilerRange backward = clock.enter(Phase::kBackward);
    device.work(16 * scale);
    const ProfilerRange more = clock.enter(Phase::kForward);
    device.work(4 * scale);
    const ProfilerRange optimizer = clock.enter(Phase::kOptimizer);
    device.work(2 * scale);
    clock.stop();
    device.work(1000);  // of nobody
    EXPECT_EQ(clock.read(), (PhaseSeconds{1 * scale, 12 * scale, 16 * scale, 0, 0, 2 * scale}));
  }
  EXPECT_EQ(device.waits(), 0);
  EXPECT_EQ(device.made(), 6);  // by the first step, for all
}

}  // namespace
}  // namespace shardora
