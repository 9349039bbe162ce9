// The GPU's backend on machines that lack something, and what it does with memory and events.
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/backend.h"
#include "kernels/emulation/devices.h"
#include "tests/support/expect_error.h"

namespace shardora {
namespace {

using emulation::allocated_bytes;
using emulation::events_made;
using emulation::machine;

// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): GoogleTest makes and destroys it
class CudaBackendOnMachine : public testing::Test {
 protected:
  ~CudaBackendOnMachine() override { machine() = {}; }
  static std::unique_ptr<Backend> start(int device = 0) { return make_backend(BackendKind::kCuda, {.device = device}); }
  static void expect_refused(const std::vector<std::string>& found_needed_and_remedy) {
    expect_error(ExitStatus::kUnavailable, found_needed_and_remedy, [] { start(); });
  }
};

TEST_F(CudaBackendOnMachine, WithoutADriverSaysWhatItNeeds) {
  machine().driver_version = 0;
  const std::vector<std::string> words = {"found no NVIDIA driver", "needed one for CUDA 12.4 or newer", "install it",
                                          "parallel.backend = cpu"};
  expect_refused(words);
  expect_error(ExitStatus::kUnavailable, words, [] { cuda_devices(); });
}

TEST_F(CudaBackendOnMachine, WithAnOldDriverSaysWhichItFound) {
  machine().driver_version = 12020;
  expect_refused({"found a driver for CUDA 12.2", "needed one for 12.4 or newer", "update", "parallel.backend = cpu"});
}

TEST_F(CudaBackendOnMachine, WithoutADeviceSaysWhereToLook) {
  machine().devices.clear();
  expect_refused({"found no usable device", "no CUDA-capable device is detected", "compute capability 8.0 or newer",
                  "CUDA_VISIBLE_DEVICES", "parallel.backend = cpu"});
}

TEST_F(CudaBackendOnMachine, RefusesAnArchitectureThatIsTooOld) {
  machine().devices[0] = {.major = 7, .minor = 5};
  expect_refused({"found emulated device 0 of compute capability 7.5", "needed 8.0 or newer", "use a newer device",
                  "parallel.backend = cpu"});
  machine().devices[0] = {.major = 8, .minor = 0};
  EXPECT_EQ(start()->instruction_set(), "sm_80");
}

TEST_F(CudaBackendOnMachine, RefusesAProductsLibraryThatIsTooOld) {
  machine().cublaslt_version = 120304;
  expect_refused({"found cuBLASLt 12.3", "needed 12.4 or newer", "install a CUDA toolkit", "LD_LIBRARY_PATH",
                  "parallel.backend = cpu"});
  machine().cublaslt_version = 120402;
  EXPECT_TRUE(start());
}

TEST_F(CudaBackendOnMachine, RefusesADeviceThatIsNotThere) {
  expect_error(ExitStatus::kInternal, {"device"}, [] { start(1); });
  machine().devices.resize(2);
  EXPECT_NE(start(1)->description().find("device 1"), std::string::npos);
}

TEST_F(CudaBackendOnMachine, NamesItsDevices) {
  machine().devices = {{}, {.major = 8, .minor = 6, .memory_bytes = std::size_t{24} << 30}};
  const std::vector<CudaDevice> devices = cuda_devices();
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[1].name, "emulated device 1");
  EXPECT_EQ(devices[1].major * 10 + devices[1].minor, 86);
  EXPECT_EQ(devices[1].memory_bytes, std::int64_t{24} << 30);
  EXPECT_EQ(devices[1].identifier, "GPU-00000000000000000000000000000001");
  EXPECT_NE(devices[0].identifier, devices[1].identifier);
}

TEST_F(CudaBackendOnMachine, OutOfMemorySaysHowMuchAndWhatToLower) {
  machine().devices[0].memory_bytes = std::size_t{100} << 20;
  const auto backend = start();
  const std::int64_t free_bytes = backend->memory().free_bytes;
  EXPECT_EQ(backend->memory().total_bytes, std::int64_t{100} << 20);
  EXPECT_LT(free_bytes, backend->memory().total_bytes);  // the workspace
  expect_error(
      ExitStatus::kOutOfMemory,
      {"asked for " + std::to_string(free_bytes + 1), "of 100.0 MiB are free", "lower train.micro_batch_tokens"},
      [&] { DeviceBuffer(*backend, free_bytes + 1); });
  const DeviceBuffer all(*backend, free_bytes);
  EXPECT_EQ(backend->memory().free_bytes, 0);
}

TEST_F(CudaBackendOnMachine, WithoutRoomForItsWorkspaceIsOutOfMemoryToo) {
  machine().devices[0].memory_bytes = std::size_t{1} << 20;
  expect_error(ExitStatus::kOutOfMemory, {"asked for", "1.0 of 1.0 MiB are free"}, [] { start(); });
}

TEST_F(CudaBackendOnMachine, GivesBackAllMemory) {
  const std::size_t before = allocated_bytes();
  {
    const auto backend = start();
    const DeviceBuffer buffer(*backend, 17);
    EXPECT_GT(allocated_bytes(), before + (std::size_t{64} << 20));
  }
  EXPECT_EQ(allocated_bytes(), before);
}

// Both staging buffers are used, and the first again.
TEST_F(CudaBackendOnMachine, CopiesWhatIsLargerThanItsStagingBuffers) {
  const auto backend = start();
  for (const std::int64_t bytes :
       {std::int64_t{0}, std::int64_t{17}, std::int64_t{5} << 20, (std::int64_t{67} << 20) + 3}) {
    std::vector<std::uint8_t> there(static_cast<std::size_t>(bytes)), back(there.size(), 0xAB);
    for (std::size_t i = 0; i < there.size(); ++i) there[i] = static_cast<std::uint8_t>(i * 2654435761U >> 24U);
    const DeviceBuffer buffer(*backend, bytes);
    const TensorView device{buffer.data(), DType::kU8, {bytes}};
    backend->copy_from_host(device, view_of(std::span(there), {bytes}));
    backend->copy_to_host(view_of(std::span(back), {bytes}), device);
    backend->synchronize();
    EXPECT_TRUE(there == back) << bytes;
  }
}

TEST_F(CudaBackendOnMachine, EventsAreUsedAgain) {
  const auto backend = start();
  { const Event first = backend->record(), second = backend->record(); }
  const std::size_t made = events_made();
  const auto queue = backend->make_queue();
  for (int i = 0; i < 100; ++i) {
    const Event first = backend->record(), copy = first;
    queue->wait(first);
    const Event second = queue->record();
    EXPECT_NE(first.handle, second.handle);
    backend->wait(second);
    backend->wait_on_host(second);
    EXPECT_TRUE(backend->passed(second));
  }
  EXPECT_EQ(events_made(), made);
}

TEST_F(CudaBackendOnMachine, AnEventMayOutliveItsBackend) {
  Event last;
  {
    const auto backend = start();
    last = backend->record();
  }
  EXPECT_NE(last.handle, nullptr);
}

}  // namespace
}  // namespace shardora
