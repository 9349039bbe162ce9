// A Communicator for device memory over NCCL: collectives are queued on a stream of their own and run beside the
// backend's work.
//
//   queue    wait(after) | begun | all-reduce | ended -> returned
//
// A group of one rank has nobody to talk to and never calls NCCL.
#pragma once

#include <array>
#include <chrono>
#include <optional>

#include "runtime/comm/device_communicator.h"
#include "runtime/comm/nccl_handle.h"

namespace shardora {

class NcclCommunicator final : public DeviceCommunicator {
 public:
  // Collective over `host`, the same group for host memory, through which NCCL's id travels. Nothing is owned; all
  // outlive this. `name` is the group's in messages. Throws Error(kUnavailable) on the ranks where NCCL does not start;
  // the others' start ends by the time limit, or sooner.
  NcclCommunicator(const nccl::Library& library, Backend& backend, Communicator& host, const std::string& name,
                   const nccl::Limits& limits = {});

  using Communicator::all_reduce;
  using Communicator::broadcast;
  Event all_reduce(TensorView values, Reduction reduction, const Event& after) override;
  Event broadcast(TensorView values, int root, const Event& after) override;
  // Also called at each collective, and so often while the host waits.
  void check() override;

 private:
  struct InFlight {
    const char* operation = nullptr;
    Event begun, ended;
    std::optional<std::chrono::steady_clock::time_point> seen;  // when it was first found to have begun
  };
  template <class Call>
  Event run(const char* operation, const Event& after, const Call& call);
  void make_room();
  InFlight& oldest() { return in_flight_[first_ % in_flight_.size()]; }

  const nccl::Library& library_;
  Backend& backend_;
  double seconds_;
  std::unique_ptr<Queue> queue_;
  nccl::Handle handle_;
  // What was queued and had not ended when it was last looked at: a ring, so that a step allocates nothing.
  std::array<InFlight, 64> in_flight_;
  std::size_t first_ = 0, count_ = 0;
};

}  // namespace shardora
