// Backends: memory, copies, what they say of themselves, and the one that only dry-runs.
#include "kernels/backend.h"

#include <chrono>
#include <limits>
#include <thread>

#include "kernels/linear.h"
#include "kernels/weight_matrix.h"
#include "tests/support/random_tensor.h"

// The test for exhausted memory asks for more than there is; the sanitizer shall answer as malloc does.
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer's own name
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

namespace shardora {
namespace {

class BackendOnDevice : public support::KernelTest {};

TEST_F(BackendOnDevice, AllocatesAlignedMemoryEvenOfNoBytes) {
  for (const std::int64_t bytes : {0, 1, 17, 127, 64, 4096}) {
    const DeviceBuffer buffer(*backend_, bytes);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    EXPECT_EQ(buffer.bytes(), bytes);
  }
}

TEST_F(BackendOnDevice, SaysHowMuchMemoryWasMissing) {
  try {
    DeviceBuffer buffer(*backend_, std::int64_t{1} << 60);
    FAIL() << "got an exabyte";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kOutOfMemory);
    EXPECT_NE(std::string(error.what()).find("1152921504606846976"), std::string::npos) << error.what();
  }
}

TEST_F(BackendOnDevice, CopiesThereAcrossAndBack) {
  const support::Vector values = support::random_vector(127, 1);
  const TensorView first = floats(values);
  const TensorView second = unwritten({127});
  backend_->copy(second, first);
  backend_->zero(first);
  support::expect_close(read(second), values, 0, "copied");
  support::expect_close(read(first), support::Vector(127), 0, "zeroed");
}

TEST_F(BackendOnDevice, RefusesCopiesBetweenDifferentShapesOrTypes) {
  const TensorView a = unwritten({17});
  EXPECT_ANY_THROW(backend_->copy(a, unwritten({16})));
  EXPECT_ANY_THROW(backend_->copy(a, ints(std::vector<std::int64_t>(17))));
}

TEST_F(BackendOnDevice, EventsOfFinishedWorkCanBeWaitedFor) {
  backend_->wait(Event{});
  backend_->wait(backend_->record());
  backend_->synchronize();
}

TEST_F(BackendOnDevice, TellsTheTimeBetweenTwoPointsOfItsQueueHoweverOftenTheyAreUsed) {
  TimePoint begin, end;
  for (const int milliseconds : {2, 5, 0}) {
    const auto host = std::chrono::steady_clock::now();
    backend_->record_time(begin);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    backend_->record_time(end);
    backend_->synchronize();
    const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - host).count();
    EXPECT_GE(backend_->seconds_between(begin, end),
              0.9e-3 * milliseconds);  // a device's start of work is late by some microseconds
    EXPECT_LE(backend_->seconds_between(begin, end), 1.001 * passed + 1e-5);
  }
}

TEST(Backend, CpuSaysHowManyThreadsItHas) {
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 3});
  EXPECT_EQ(backend->kind(), BackendKind::kCpu);
  EXPECT_NE(backend->description().find("3 threads"), std::string::npos) << backend->description();
}

TEST(Backend, CpuTakesTheCoresOfItsAffinityMaskByDefault) {
  const std::string text = make_backend(BackendKind::kCpu, {})->description();
  EXPECT_EQ(text.find("cpu: 0"), std::string::npos) << text;
  EXPECT_NE(text.find("thread"), std::string::npos) << text;
}

TEST(Backend, ABufferMovesItsMemory) {
  const auto backend = make_backend(BackendKind::kCpu, {.threads = 1});
  DeviceBuffer first(*backend, 17);
  void* const memory = first.data();
  DeviceBuffer second(std::move(first));
  DeviceBuffer third(*backend, 1);
  third = std::move(second);
  EXPECT_EQ(third.data(), memory);
  EXPECT_EQ(third.bytes(), 17);
}

TEST(Backend, ADryRunTouchesNoMemory) {
  const auto backend = make_backend(BackendKind::kDryRun, {});
  const TensorView nowhere{nullptr, DType::kF32, {1 << 20, 1 << 20}};
  matmul(*backend, {.a = nowhere, .b = nowhere, .c = nowhere});
  backend->zero(nowhere);
  const FrozenMatrixPlan plan{.out_features = 1 << 20, .in_features = 1 << 20};
  const auto weight = make_frozen_matrix(*backend, plan, nowhere);
  weight->forward(nowhere, nowhere, true);
  EXPECT_EQ(weight->out_features(), 1 << 20);
  EXPECT_EQ(weight->bytes(), frozen_matrix_bytes(plan));  // one copy or two, as the products like it
  EXPECT_GE(weight->bytes(), std::int64_t{1} << 42);
}

}  // namespace
}  // namespace shardora
