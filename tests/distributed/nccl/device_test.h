// What the tests of this folder share: a device, and the stand-in for NCCL as new.
#pragma once

#include <gmock/gmock.h>

#include <chrono>
#include <vector>

#include "runtime/comm/nccl_library.h"
#include "tests/distributed/nccl/deferred_backend.h"
#include "tests/distributed/nccl/stand_in.h"
#include "tests/support/mpi_test.h"

namespace shardora::testing {

// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): GoogleTest makes and destroys it
class DeviceTest : public ::testing::Test {
 protected:
  DeviceTest() {
    stand_in() = {};
    stand_in().enqueue = [this](void* stream, std::function<void()> work) {
      auto& queue = *static_cast<DeferredQueue*>(stream);
      work ? queue.add(std::move(work)) : queue.add_gate(unstuck_);
    };
  }
  ~DeviceTest() override {
    EXPECT_EQ(stand_in().counts.misuse, 0);
    stand_in() = {};
  }
  const nccl::Library& library() {
    static const nccl::Library loaded = nccl::load(SHARDORA_STAND_IN_NCCL);
    return loaded;
  }
  // The time limits' tests need an end of their own.
  static double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  bool unstuck_ = false;  // what stand_in().collectives_stick holds up may go on
  DeferredBackend device_;
};

// Values on a device: put there, and read back, in the order of its queue.
template <class T>
class DeviceValues {
 public:
  DeviceValues(Backend& backend, std::vector<T> values, DType dtype)
      : backend_(backend),
        host_(std::move(values)),
        memory_(backend, static_cast<std::int64_t>(host_.size() * sizeof(T))),
        dtype_(dtype) {
    backend_.copy_from_host(view(), host_view());
  }
  TensorView view() const { return {memory_.data(), dtype_, {std::ssize(host_)}}; }
  const std::vector<T>& read() {
    std::vector<T> fresh(host_.size());
    host_.swap(fresh);
    backend_.copy_to_host(host_view(), view());
    backend_.synchronize();
    return host_;
  }

 private:
  TensorView host_view() { return {host_.data(), dtype_, {std::ssize(host_)}}; }
  Backend& backend_;
  std::vector<T> host_;
  DeviceBuffer memory_;
  DType dtype_;
};

}  // namespace shardora::testing
