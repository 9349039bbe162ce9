// The GPU as a backend: one stream, device memory by cudaMalloc, and what operations share: a workspace, the products'
// library, pinned buffers that large copies from the host run through.
#pragma once

#include <array>
#include <functional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/platform.h"

namespace shardora::cuda {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const BackendOptions& options);
  ~CudaBackend() override;
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  BackendKind kind() const override { return BackendKind::kCuda; }
  std::string description() const override;
  std::string instruction_set() const override;
  std::string device_name() const override { return properties_.name; }

  void* allocate(std::int64_t bytes) override;
  void release(void* memory) noexcept override;
  void* allocate_host(std::int64_t bytes) override;
  void release_host(void* memory) noexcept override;
  DeviceMemory memory() const override;

  void copy_from_host(TensorView device, TensorView host) override;
  // Fills device [rows,width] with what `read` writes into pinned host memory, which is not the caller's, some rows at
  // a time, in order: one piece is read while the one before it is copied.
  void copy_rows_from_host(TensorView device, const std::function<void(std::int64_t first, TensorView rows)>& read);
  void copy_to_host(TensorView host, TensorView device) override;
  void copy(TensorView to, TensorView from) override;
  void zero(TensorView device) override;

  Event record() override;
  void wait(const Event& event) override;
  void synchronize() override;
  void wait_on_host(const Event& event) override;
  bool passed(const Event& event) const override;
  std::unique_ptr<Queue> make_queue() override;
  void record_time(TimePoint& point) override;
  double seconds_between(const TimePoint& begin, const TimePoint& end) const override;

  cudaStream_t stream() const { return stream_; }
  const cudaDeviceProp& properties() const { return properties_; }
  bool deterministic() const { return deterministic_; }
  Gemm& gemm() { return *gemm_; }
  class AttentionChoice& attention() {
    return *attention_;
  }
  // Scratch memory of one operation: the next one on the stream may use it again. At most kWorkspaceBytes. gemm()
  // has another, so that what an operation puts here may be multiplied.
  template <class T>
  T* workspace(std::int64_t count) {
    return static_cast<T*>(workspace_of(count * static_cast<std::int64_t>(sizeof(T))));
  }
  static constexpr std::int64_t kWorkspaceBytes = std::int64_t{64} << 20;
  static constexpr std::int64_t kProductWorkspaceBytes = std::int64_t{32} << 20;  // cuBLASLt's advice for Hopper

 private:
  static constexpr std::int64_t kStagingBytes = std::int64_t{32} << 20;  // each of two: one is filled, one is copied
  struct Staging {
    void* memory = nullptr;
    Event copied;
  };
  void* workspace_of(std::int64_t bytes);
  Staging& next_staging();
  void copy_piece(void* device, Staging& staging, std::int64_t bytes);

  int device_;
  bool deterministic_;
  cudaDeviceProp properties_{};
  // Owned from the start: a constructor that throws has no destructor.
  struct DestroyStream {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, DestroyStream> stream_owner_;
  cudaStream_t stream_ = nullptr;
  DeviceBuffer workspace_, product_workspace_;
  std::array<Staging, 2> staging_;
  std::size_t next_staging_ = 0;
  std::shared_ptr<class EventPool> events_;
  std::unique_ptr<Gemm> gemm_;
  std::unique_ptr<AttentionChoice> attention_;
};

inline CudaBackend& cuda_backend(Backend& backend) { return static_cast<CudaBackend&>(backend); }
inline cudaStream_t stream_of(Backend& backend) { return cuda_backend(backend).stream(); }

}  // namespace shardora::cuda
