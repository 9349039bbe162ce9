// A Communicator for device memory where devices cannot talk to each other: through pinned host memory and MPI. For
// several ranks on one device, and where there is no NCCL.
//
// Values go piece by piece through two buffers, so that one piece is copied while the other is reduced:
//
//   device   down 0 | down 1          | up 0, down 2    | up 1, down 3 …
//   host            | all-reduce 0    | all-reduce 1    | all-reduce 2 …
//
// The host waits for each piece; when a call returns, only the last copies to the device are still on their way.
// bfloat16 is summed in fp32 and rounded once.
#pragma once

#include <array>
#include <memory>

#include "runtime/comm/device_communicator.h"

namespace shardora {

class HostStagedCommunicator final : public DeviceCommunicator {
 public:
  // Of this size the CUDA backend still copies without a buffer of its own.
  static constexpr std::int64_t kPieceBytes = std::int64_t{4} << 20;

  // `host` is the same group for host memory. Neither is owned; both outlive this. `piece_bytes` (a multiple of 8) is
  // smaller in tests.
  HostStagedCommunicator(Backend& backend, Communicator& host, std::int64_t piece_bytes = kPieceBytes);

  using Communicator::all_reduce;
  using Communicator::broadcast;
  Event all_reduce(TensorView values, Reduction reduction, const Event& after) override;
  Event broadcast(TensorView values, int root, const Event& after) override;

 private:
  struct Release {
    Backend* backend;  // not owned
    void operator()(void* memory) const noexcept { backend->release_host(memory); }
  };
  template <class Exchange>
  Event stage(TensorView values, bool down, bool up, const Event& after, const Exchange& exchange);
  void all_reduce_bf16(TensorView piece, Reduction reduction);

  Backend& backend_;
  std::int64_t piece_bytes_;
  std::array<std::unique_ptr<void, Release>, 2> buffers_;  // pinned
  std::vector<float> wide_;                                // a piece of bfloat16 as fp32; empty until there is one
};

}  // namespace shardora
