// A Communicator for device memory over NCCL: collectives are queued on a stream of their own and run beside the
// backend's work.
//
//   queue    wait(after) | begun | all-reduce | ended -> returned
//
// A group of one rank never calls NCCL.
#pragma once

#include <array>
#include <optional>

#include "runtime/comm/collective_observer.h"
#include "runtime/comm/device_communicator.h"
#include "runtime/comm/nccl_handle.h"

namespace shardora {

class NcclCommunicator final : public DeviceCommunicator {
 public:
  // Collective over `host`, the same group for host memory, through which NCCL's id travels. Nothing is owned; all
  // outlive this. `name` is the group's in messages. `observer` (null: none) observes its collectives as those of a
  // group of that kind. Throws Error(kUnavailable) on the ranks where NCCL does not start; the others' start ends by
  // the time limit, or sooner.
  NcclCommunicator(const nccl::Library& library, Backend& backend, Communicator& host, const std::string& name,
                   const nccl::Limits& limits = {}, CollectiveObserver* observer = nullptr,
                   GroupKind kind = GroupKind::kDeviceData);

  using Communicator::all_reduce;
  using Communicator::broadcast;
  Event all_reduce(TensorView values, Reduction reduction, const Event& after) override;
  Event broadcast(TensorView values, int root, const Event& after) override;
  void check(bool waits) override;

 private:
  struct InFlight {
    Collective call;
    Event begun, ended;
    std::optional<double> seen;  // when it was first found to have begun, on the monotonic clock
  };
  template <class Call>
  Event run(const char* operation, const TensorView& values, const Event& after, const Call& call);
  void settle(nccl::Result status, const Collective& call);
  // What has ended is forgotten; throws where something has failed or takes too long. At each collective, and so often
  // while the host waits.
  void look();
  void make_room();
  void entered(const Collective& call);
  void left();
  InFlight& oldest() { return in_flight_[first_ % in_flight_.size()]; }

  const nccl::Library& library_;
  Backend& backend_;
  double seconds_;
  std::unique_ptr<Queue> queue_;
  nccl::Handle handle_;
  // What was queued and had not ended when it was last looked at: a ring, so that a step allocates nothing.
  std::array<InFlight, 64> in_flight_;
  std::size_t first_ = 0, count_ = 0;
  CollectiveObserver* observer_;  // not owned; null: none
  GroupKind kind_;
  std::int64_t queued_ = 0;
};

}  // namespace shardora
