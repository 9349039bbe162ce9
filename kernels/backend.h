// Backend: where buffers live and how work is queued. Operations are free functions beside it (dispatch.cc);
// a Backend only knows memory, copies, events and waiting.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace shardora {

// kDryRun: every operation does nothing, on views that may point nowhere; a step run on it measures memory.
enum class BackendKind : std::uint8_t { kCpu, kCuda, kDryRun };

// A point in a queue of work. A default one has passed already. Copies share the point.
struct Event {
  std::shared_ptr<void> handle;
};

// When the work of a queue came to a point of it. The first record_time() makes what it needs, later ones use that
// again; copies share it.
struct TimePoint {
  std::shared_ptr<void> handle;  // a device's own
  double seconds = 0;            // of the host's monotonic clock, where the host is the device
};

// A second queue of work on the same device, for collectives that run beside the backend's own.
class Queue {
 public:
  virtual ~Queue() = default;
  virtual void wait(const Event& event) = 0;  // later work starts after it
  virtual Event record() = 0;                 // passes when all work queued here so far is done
  virtual void* native() const = 0;  // the device's own handle (a cudaStream_t), for a library that queues work
};

// What a device has, in bytes; 0 and 0 where the host's memory is the device's.
struct DeviceMemory {
  std::int64_t free_bytes = 0, total_bytes = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual BackendKind kind() const = 0;
  virtual std::string description() const = 0;  // one line for the log: device, threads, instruction set

  // What its arithmetic is compiled for: results at another one differ in rounding. One word.
  virtual std::string instruction_set() const = 0;

  // The vendor's name ("NVIDIA H200"); empty for a CPU.
  virtual std::string device_name() const { return {}; }

  // Device memory aligned to 64 bytes, not initialised. Throws Error(kOutOfMemory) with what was asked.
  virtual void* allocate(std::int64_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;
  // Host memory that copies to and from the device run through at full speed. Throws like allocate().
  virtual void* allocate_host(std::int64_t bytes) = 0;
  virtual void release_host(void* memory) noexcept = 0;
  virtual DeviceMemory memory() const { return {}; }

  // Queued after all work so far; views of equal shape and type, the host side stays valid until synchronize().
  virtual void copy_from_host(TensorView device, TensorView host) = 0;
  virtual void copy_to_host(TensorView host, TensorView device) = 0;
  virtual void copy(TensorView to, TensorView from) = 0;  // device to device, no overlap
  virtual void zero(TensorView device) = 0;

  virtual Event record() = 0;                 // passes when all work queued so far is done
  virtual void wait(const Event& event) = 0;  // later work starts after it; the host does not wait
  virtual void synchronize() = 0;             // the host waits for all queued work
  virtual void wait_on_host(const Event& event) = 0;
  virtual bool passed(const Event& event) const = 0;
  virtual std::unique_ptr<Queue> make_queue() = 0;

  // The device's time when all work queued so far is done; the host does not wait.
  virtual void record_time(TimePoint& point) = 0;
  // Of two points that have passed: after synchronize().
  virtual double seconds_between(const TimePoint& begin, const TimePoint& end) const = 0;
};

struct BackendOptions {
  int threads = 0;  // CPU threads of this rank; 0: the cores in its affinity mask
  // CPU: a level of the x86-64 psABI (x86-64, x86-64-v3, x86-64-v4), or auto: the highest that the processor has.
  std::string instruction_set = "auto";
  int device = 0;                  // CUDA: the index among the visible devices
  std::string attention = "auto";  // CUDA: own kernels only, cudnn or refuse, auto: cuDNN where it serves the run
  bool deterministic = false;      // CUDA: only ways that give the same bits each time (the CPU has no others)
};

// A CUDA device that this process may use.
struct CudaDevice {
  std::string name;          // "NVIDIA H200"
  std::string identifier;    // "GPU-…", the same for every process that sees it
  int major = 0, minor = 0;  // compute capability
  std::int64_t memory_bytes = 0;
};
// In the driver's order. Throws Error(kUnavailable) with found, needed and remedy where there is no driver, no device,
// or this program was built without CUDA.
std::vector<CudaDevice> cuda_devices();

// As CUDA counts them: 1000 * major + 10 * minor. 0: no driver, a program without CUDA.
struct CudaVersions {
  int driver = 0;   // the newest CUDA that the driver serves
  int runtime = 0;  // that this program was built with
};
CudaVersions cuda_versions();

// The levels that this program is built for and this processor has, lowest first.
std::vector<std::string> instruction_sets();

// Throws Error(kUnavailable) where the device, or what it was asked to use, is missing.
std::unique_ptr<Backend> make_backend(BackendKind kind, const BackendOptions& options);

// An owned block of a backend's memory, released on destruction. Move-only.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(Backend& backend, std::int64_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer();
  void* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

 private:
  Backend* backend_ = nullptr;  // not owned, outlives the buffer
  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace shardora
