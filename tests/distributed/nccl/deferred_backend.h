// A device that is as lazy as it may be, for tests: work stands in queues until somebody waits for it, and then only
// that is done which has to come before. A wait that was forgotten is work that was not done.
#pragma once

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>

#include "kernels/backend.h"

namespace shardora::testing {

class DeferredQueue final : public Queue {
 public:
  struct Point {
    DeferredQueue* queue = nullptr;
    bool passed = false;
  };

  void add(std::function<void()> work) { work_.push_back(std::move(work)); }
  // Nothing goes on here before `open`, which the caller keeps alive.
  void add_gate(const bool& open) {
    add([this, &open] { stuck_ = !open; });
  }

  void wait(const Event& event) override {
    if (event.handle == nullptr) return;
    add([this, point = std::static_pointer_cast<Point>(event.handle)] { stuck_ = !reach(*point); });
  }
  Event record() override {
    auto point = std::make_shared<Point>();
    point->queue = this;
    add([point] { point->passed = true; });
    return {point};
  }
  void* native() const override { return const_cast<DeferredQueue*>(this); }

  // Does what must be done before the point; false where that has no end.
  static bool reach(Point& point) {
    while (!point.passed && point.queue->step()) {
    }
    return point.passed;
  }
  bool step() {
    if (work_.empty()) return false;
    stuck_ = false;
    const std::function<void()> work = work_.front();  // a copy: it may add work
    work();
    if (!stuck_) work_.pop_front();
    return !stuck_;
  }

 private:
  std::deque<std::function<void()>> work_;
  bool stuck_ = false;
};

class DeferredBackend final : public Backend {
 public:
  DeferredQueue& queue() { return queue_; }

  BackendKind kind() const override { return BackendKind::kCuda; }
  std::string description() const override { return "deferred"; }
  std::string instruction_set() const override { return "deferred"; }

  void* allocate(std::int64_t bytes) override {
    void* const memory = std::malloc(static_cast<std::size_t>(bytes) + 1);
    std::memset(memory, 0xFF, static_cast<std::size_t>(bytes) + 1);
    return memory;
  }
  void release(void* memory) noexcept override { std::free(memory); }
  void* allocate_host(std::int64_t bytes) override { return allocate(bytes); }
  void release_host(void* memory) noexcept override { release(memory); }

  void copy_from_host(TensorView device, TensorView host) override { copy(device, host); }
  void copy_to_host(TensorView host, TensorView device) override { copy(host, device); }
  void copy(TensorView to, TensorView from) override {
    SHARDORA_CHECK(to.shape == from.shape && to.dtype == from.dtype);
    if (to.bytes() == 0) return;
    queue_.add([to, from] { std::memcpy(to.data, from.data, static_cast<std::size_t>(to.bytes())); });
  }
  void zero(TensorView device) override {
    queue_.add([device] { std::memset(device.data, 0, static_cast<std::size_t>(device.bytes())); });
  }

  Event record() override { return queue_.record(); }
  void wait(const Event& event) override { queue_.wait(event); }
  void synchronize() override { wait_on_host(record()); }
  void wait_on_host(const Event& event) override { SHARDORA_CHECK(passed(event)); }
  // Asking is what makes the device go on.
  bool passed(const Event& event) const override {
    return event.handle == nullptr || DeferredQueue::reach(*static_cast<DeferredQueue::Point*>(event.handle.get()));
  }
  std::unique_ptr<Queue> make_queue() override { return std::make_unique<DeferredQueue>(); }
  void record_time(TimePoint& point) override {
    const auto seconds = std::make_shared<double>();
    point.handle = seconds;
    queue_.add([seconds] {
      *seconds = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    });
  }
  double seconds_between(const TimePoint& begin, const TimePoint& end) const override {
    return *static_cast<double*>(end.handle.get()) - *static_cast<double*>(begin.handle.get());
  }

 private:
  DeferredQueue queue_;
};

}  // namespace shardora::testing
