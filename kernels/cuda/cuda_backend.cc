#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda.h"

namespace shardora::cuda {

// Events that are made once and used again and again: a step makes none.
class EventPool : public std::enable_shared_from_this<EventPool> {
 public:
  EventPool() = default;
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool();
  Event record(cudaStream_t stream);  // comes back to the pool with the last copy of the Event

 private:
  std::vector<cudaEvent_t> free_;
};

namespace {

constexpr int kLeastMajor = 8;       // bfloat16 in tensor cores
constexpr int kLeastDriver = 12040;  // CUDA 12.4

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string identifier_of(const cudaUUID_t& uuid) {
  std::string text = "GPU-";
  for (const char byte : uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

void require_driver() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0) {
    refuse(ExitStatus::kUnavailable,
           "parallel.backend = cuda: found no NVIDIA driver, needed one for CUDA {} or newer; install it (nvidia-smi "
           "shows it), or set parallel.backend = cpu",
           version_text(kLeastDriver));
  }
  if (version < kLeastDriver) {
    refuse(ExitStatus::kUnavailable,
           "parallel.backend = cuda: found a driver for CUDA {}, needed one for {} or newer; update the NVIDIA driver, "
           "or set parallel.backend = cpu",
           version_text(version), version_text(kLeastDriver));
  }
}

void require_cublaslt() {
  constexpr std::size_t kLeast = 120400;
  const std::size_t version = cublaslt_version();
  if (version >= kLeast) return;
  const std::string least = fmt::format("{}.{}", kLeast / 10000, kLeast % 10000 / 100);
  refuse(ExitStatus::kUnavailable,
         "parallel.backend = cuda: found cuBLASLt {}.{}, needed {} or newer; install a CUDA toolkit of {} or newer "
         "(LD_LIBRARY_PATH may point to an old libcublasLt), or set parallel.backend = cpu",
         version / 10000, version % 10000 / 100, least, least);
}

int device_count() {
  require_driver();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  const char* const why = status == cudaSuccess ? "no device is visible" : cudaGetErrorString(status);
  refuse(
      ExitStatus::kUnavailable,
      "parallel.backend = cuda: found no usable device ({}), needed one of compute capability {}.0 or newer; look at "
      "nvidia-smi and CUDA_VISIBLE_DEVICES, or set parallel.backend = cpu",
      why, kLeastMajor);
}

void require_host(TensorView device, TensorView host) {
  SHARDORA_CHECK(device.shape == host.shape && device.dtype == host.dtype);
}

// The event's, or nullptr where it has passed already.
inline cudaEvent_t event_handle(const Event& event) { return static_cast<cudaEvent_t>(event.handle.get()); }

class CudaQueue final : public Queue {
 public:
  explicit CudaQueue(std::shared_ptr<EventPool> events) : events_(std::move(events)) {
    SHARDORA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  ~CudaQueue() override { cudaStreamDestroy(stream_); }
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;
  void wait(const Event& event) override {
    if (event.handle) SHARDORA_CHECK(cudaStreamWaitEvent(stream_, event_handle(event), 0));
  }
  Event record() override { return events_->record(stream_); }
  void* native() const override { return stream_; }

 private:
  std::shared_ptr<EventPool> events_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

EventPool::~EventPool() {
  for (cudaEvent_t event : free_) cudaEventDestroy(event);
}

Event EventPool::record(cudaStream_t stream) {
  cudaEvent_t event = nullptr;
  if (free_.empty()) {
    SHARDORA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  } else {
    event = free_.back();
    free_.pop_back();
  }
  Event recorded{std::shared_ptr<void>(
      event, [pool = shared_from_this()](void* used) { pool->free_.push_back(static_cast<cudaEvent_t>(used)); })};
  SHARDORA_CHECK(cudaEventRecord(event, stream));
  return recorded;
}

std::vector<CudaDevice> devices() {
  std::vector<CudaDevice> found(static_cast<std::size_t>(device_count()));
  for (std::size_t i = 0; i < found.size(); ++i) {
    cudaDeviceProp properties{};
    SHARDORA_CHECK(cudaGetDeviceProperties(&properties, static_cast<int>(i)));
    found[i] = {.name = properties.name,
                .identifier = identifier_of(properties.uuid),
                .major = properties.major,
                .minor = properties.minor,
                .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem)};
  }
  return found;
}

CudaVersions versions() {
  CudaVersions found;
  if (cudaDriverGetVersion(&found.driver) != cudaSuccess) found.driver = 0;
  if (cudaRuntimeGetVersion(&found.runtime) != cudaSuccess) found.runtime = 0;
  return found;
}

CudaBackend::CudaBackend(const BackendOptions& options)
    : device_(options.device), deterministic_(options.deterministic), events_(std::make_shared<EventPool>()) {
  const int count = device_count();
  SHARDORA_CHECK(device_ >= 0 && device_ < count);
  SHARDORA_CHECK(cudaGetDeviceProperties(&properties_, device_));
  if (properties_.major < kLeastMajor) {
    refuse(ExitStatus::kUnavailable,
           "parallel.backend = cuda: found {} of compute capability {}.{}, needed {}.0 or newer (Ampere); use a newer "
           "device, or set parallel.backend = cpu",
           properties_.name, properties_.major, properties_.minor, kLeastMajor);
  }
  require_cublaslt();
  SHARDORA_CHECK(cudaSetDevice(device_));
  SHARDORA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  stream_owner_.reset(stream_);
  workspace_ = DeviceBuffer(*this, kWorkspaceBytes);
  product_workspace_ = DeviceBuffer(*this, kProductWorkspaceBytes);
  gemm_ = make_gemm(stream_, {product_workspace_.data(), static_cast<std::size_t>(kProductWorkspaceBytes)});
  attention_ = std::make_unique<AttentionChoice>(options.attention, stream_, properties_);
}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_);
  attention_.reset();
  gemm_.reset();
  for (Staging& staging : staging_) {
    staging.copied = {};
    if (staging.memory != nullptr) release_host(staging.memory);
  }
}

std::string CudaBackend::description() const {
  return fmt::format("cuda: device {}, {}, compute capability {}.{}, {:.0f} GiB, {}, {}", device_, properties_.name,
                     properties_.major, properties_.minor, static_cast<double>(properties_.totalGlobalMem) / (1 << 30),
                     gemm_->description(), attention_->description());
}

std::string CudaBackend::instruction_set() const {
  return fmt::format("sm_{}{}", properties_.major, properties_.minor);
}

void* CudaBackend::allocate(std::int64_t bytes) {
  SHARDORA_CHECK(bytes >= 0);
  void* block = nullptr;
  // Never 0: an empty buffer has an address too.
  const cudaError_t status = cudaMalloc(&block, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 64)));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it has been told: later calls must not tell it again
    const DeviceMemory has = memory();
    refuse(ExitStatus::kOutOfMemory,
           "out of device memory: asked for {} bytes, {:.1f} of {:.1f} MiB are free; lower train.micro_batch_tokens, "
           "set train.recompute = selective or full, or raise parallel.tensor",
           bytes, static_cast<double>(has.free_bytes) / (1 << 20), static_cast<double>(has.total_bytes) / (1 << 20));
  }
  SHARDORA_CHECK(status);
  return block;
}

void CudaBackend::release(void* memory) noexcept { cudaFree(memory); }

void* CudaBackend::allocate_host(std::int64_t bytes) {
  void* memory = nullptr;
  SHARDORA_CHECK(
      cudaHostAlloc(&memory, static_cast<std::size_t>(std::max<std::int64_t>(bytes, 64)), cudaHostAllocDefault));
  return memory;
}

void CudaBackend::release_host(void* memory) noexcept { cudaFreeHost(memory); }

DeviceMemory CudaBackend::memory() const {
  std::size_t free_bytes = 0, total_bytes = 0;
  SHARDORA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  return {static_cast<std::int64_t>(free_bytes), static_cast<std::int64_t>(total_bytes)};
}

void CudaBackend::copy_from_host(TensorView device, TensorView host) {
  require_host(device, host);
  if (host.bytes() == 0) return;
  // Pageable memory would be copied by the driver through a small buffer, and the host would wait for each piece.
  if (host.bytes() > kStagingBytes / 8) {
    const auto bytes_of = [&](TensorView view) { return TensorView{view.data, DType::kU8, {view.bytes(), 1}}; };
    const TensorView from = bytes_of(host);
    return copy_rows_from_host(bytes_of(device), [&](std::int64_t first, TensorView piece) {
      std::memcpy(piece.data, from.rows(first, piece.size(0)).data, static_cast<std::size_t>(piece.bytes()));
    });
  }
  SHARDORA_CHECK(
      cudaMemcpyAsync(device.data, host.data, static_cast<std::size_t>(host.bytes()), cudaMemcpyHostToDevice, stream_));
}

// Free to be written: what was copied from it has arrived.
CudaBackend::Staging& CudaBackend::next_staging() {
  Staging& staging = staging_[next_staging_++ % staging_.size()];
  if (staging.memory == nullptr) staging.memory = allocate_host(kStagingBytes);
  wait_on_host(staging.copied);
  return staging;
}

void CudaBackend::copy_piece(void* device, Staging& staging, std::int64_t bytes) {
  SHARDORA_CHECK(
      cudaMemcpyAsync(device, staging.memory, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice, stream_));
  staging.copied = record();
}

void CudaBackend::copy_rows_from_host(TensorView device, const std::function<void(std::int64_t, TensorView)>& read) {
  SHARDORA_CHECK(device.shape.rank() == 2);
  const std::int64_t rows = device.size(0), row_bytes = device.size(1) * size_bytes(device.dtype);
  if (device.bytes() == 0) return;
  const std::int64_t each = kStagingBytes / row_bytes;
  SHARDORA_CHECK(each > 0);
  for (std::int64_t first = 0; first < rows; first += each) {
    const TensorView piece = device.rows(first, std::min(each, rows - first));
    Staging& staging = next_staging();
    read(first, {staging.memory, device.dtype, piece.shape});
    copy_piece(piece.data, staging, piece.bytes());
  }
}

void CudaBackend::copy_to_host(TensorView host, TensorView device) {
  require_host(device, host);
  if (host.bytes() == 0) return;
  SHARDORA_CHECK(
      cudaMemcpyAsync(host.data, device.data, static_cast<std::size_t>(host.bytes()), cudaMemcpyDeviceToHost, stream_));
}

void CudaBackend::copy(TensorView to, TensorView from) {
  SHARDORA_CHECK(to.shape == from.shape && to.dtype == from.dtype);
  if (to.bytes() == 0) return;
  SHARDORA_CHECK(
      cudaMemcpyAsync(to.data, from.data, static_cast<std::size_t>(to.bytes()), cudaMemcpyDeviceToDevice, stream_));
}

void CudaBackend::zero(TensorView device) {
  if (device.bytes() == 0) return;
  SHARDORA_CHECK(cudaMemsetAsync(device.data, 0, static_cast<std::size_t>(device.bytes()), stream_));
}

Event CudaBackend::record() { return events_->record(stream_); }
void CudaBackend::wait(const Event& event) {
  if (event.handle) SHARDORA_CHECK(cudaStreamWaitEvent(stream_, event_handle(event), 0));
}
void CudaBackend::synchronize() { SHARDORA_CHECK(cudaStreamSynchronize(stream_)); }
void CudaBackend::wait_on_host(const Event& event) {
  if (event.handle) SHARDORA_CHECK(cudaEventSynchronize(event_handle(event)));
}
bool CudaBackend::passed(const Event& event) const {
  if (!event.handle) return true;
  const cudaError_t status = cudaEventQuery(event_handle(event));
  if (status == cudaErrorNotReady) return false;
  SHARDORA_CHECK(status);
  return true;
}
std::unique_ptr<Queue> CudaBackend::make_queue() { return std::make_unique<CudaQueue>(events_); }

// Events of their own: those of the pool take no time, which makes them cheaper.
void CudaBackend::record_time(TimePoint& point) {
  if (!point.handle) {
    cudaEvent_t event = nullptr;
    SHARDORA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDefault));
    point.handle = {event, [](void* made) { cudaEventDestroy(static_cast<cudaEvent_t>(made)); }};
  }
  SHARDORA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(point.handle.get()), stream_));
}
double CudaBackend::seconds_between(const TimePoint& begin, const TimePoint& end) const {
  float milliseconds = 0;
  SHARDORA_CHECK(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(begin.handle.get()),
                                      static_cast<cudaEvent_t>(end.handle.get())));
  return 1e-3 * static_cast<double>(milliseconds);
}

void* CudaBackend::workspace_of(std::int64_t bytes) {
  SHARDORA_CHECK(bytes >= 0 && bytes <= kWorkspaceBytes);
  return workspace_.data();
}

std::unique_ptr<Backend> make_backend(const BackendOptions& options) { return std::make_unique<CudaBackend>(options); }

}  // namespace shardora::cuda
