// The CPU as a backend: aligned host memory, copies that are done at once, OpenMP threads.
#include <omp.h>
#include <sched.h>

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/level.h"
#include "kernels/cpu/onednn.h"

namespace shardora::cpu {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

int cores_in_affinity_mask() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return omp_get_num_procs();
  return CPU_COUNT(&mask);
}

void copy_bytes(TensorView to, TensorView from) {
  SHARDORA_CHECK(to.shape == from.shape && to.dtype == from.dtype);
  if (to.bytes() > 0) std::memcpy(to.data, from.data, static_cast<std::size_t>(to.bytes()));
}

class PassedQueue final : public Queue {
 public:
  void wait(const Event&) override {}
  Event record() override { return {}; }
  void* native() const override { return nullptr; }
};

// Every call finishes its work before it returns, so events have always passed.
class CpuBackend final : public Backend {
 public:
  // The team size belongs to the calling thread: operations must be called from the thread that made the backend.
  CpuBackend(int threads, const Level& level) : threads_(threads), level_(level), loops_(level.make_loops()) {
    omp_set_num_threads(threads);
  }
  Loops& loops() { return *loops_; }

  BackendKind kind() const override { return BackendKind::kCpu; }
  std::string description() const override {
    return fmt::format("cpu: {} thread{}, {}, oneDNN {}", threads_, threads_ == 1 ? "" : "s", level_.name,
                       onednn_version());
  }
  std::string instruction_set() const override { return level_.name; }

  void* allocate(std::int64_t bytes) override {
    SHARDORA_CHECK(bytes >= 0);
    // Whole alignments, as aligned_alloc asks, and never 0: an empty buffer has an address too.
    const std::size_t size = (static_cast<std::size_t>(bytes) + kAlignment) / kAlignment * kAlignment;
    void* memory = std::aligned_alloc(kAlignment, size);
    if (memory == nullptr) {
      refuse(ExitStatus::kOutOfMemory, "out of host memory: asked for {} bytes ({:.1f} GiB)", bytes,
             static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0));
    }
    return memory;
  }
  void release(void* memory) noexcept override { std::free(memory); }
  void* allocate_host(std::int64_t bytes) override { return allocate(bytes); }
  void release_host(void* memory) noexcept override { release(memory); }

  void copy_from_host(TensorView device, TensorView host) override { copy_bytes(device, host); }
  void copy_to_host(TensorView host, TensorView device) override { copy_bytes(host, device); }
  void copy(TensorView to, TensorView from) override { copy_bytes(to, from); }
  void zero(TensorView device) override {
    if (device.bytes() > 0) std::memset(device.data, 0, static_cast<std::size_t>(device.bytes()));
  }

  Event record() override { return {}; }
  void wait(const Event&) override {}
  void synchronize() override {}
  void wait_on_host(const Event&) override {}
  bool passed(const Event&) const override { return true; }
  std::unique_ptr<Queue> make_queue() override { return std::make_unique<PassedQueue>(); }

  void record_time(TimePoint& point) override {
    point.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  double seconds_between(const TimePoint& begin, const TimePoint& end) const override {
    return end.seconds - begin.seconds;
  }

  GemmCache& gemm_cache() { return gemm_cache_; }

 private:
  int threads_;
  const Level& level_;
  std::unique_ptr<Loops> loops_;
  GemmCache gemm_cache_;
};

}  // namespace

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  SHARDORA_CHECK(options.threads >= 0);
  return std::make_unique<CpuBackend>(options.threads > 0 ? options.threads : cores_in_affinity_mask(),
                                      chosen_level(options.instruction_set));
}

Loops& loops_of(Backend& backend) { return static_cast<CpuBackend&>(backend).loops(); }
GemmCache& gemm_cache_of(Backend& backend) { return static_cast<CpuBackend&>(backend).gemm_cache(); }

}  // namespace shardora::cpu
