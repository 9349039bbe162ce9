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
#include "runtime/comm/flight_record.h"
#include "runtime/comm/nccl_handle.h"

namespace shardora {

// Where a group's collectives are told to the watchdog.
struct DeviceRecord {
  FlightRecord* record = nullptr;  // not owned; null: nowhere
  GroupKind kind = GroupKind::kDeviceData, host_kind = GroupKind::kData;
};

class NcclCommunicator final : public DeviceCommunicator {
 public:
  // Collective over `host`, the same group for host memory, through which NCCL's id travels. Nothing is owned; all
  // outlive this. `name` is the group's in messages. Throws Error(kUnavailable) on the ranks where NCCL does not start;
  // the others' start ends by the time limit, or sooner.
  NcclCommunicator(const nccl::Library& library, Backend& backend, Communicator& host, const std::string& name,
                   const nccl::Limits& limits = {}, const DeviceRecord& told = {});

  using Communicator::all_reduce;
  using Communicator::broadcast;
  Event all_reduce(TensorView values, Reduction reduction, const Event& after) override;
  Event broadcast(TensorView values, int root, const Event& after) override;
  void check() override;
  void wait_is_over() override;

 private:
  struct InFlight {
    const char* operation = nullptr;
    TensorView values;
    std::int64_t sequence = 0;
    Event begun, ended;
    std::optional<std::chrono::steady_clock::time_point> seen;  // when it was first found to have begun
  };
  template <class Call>
  Event run(const char* operation, const TensorView& values, const Event& after, const Call& call);
  void settle(nccl::Result status, const InFlight& call);
  // What has ended is forgotten; throws where something has failed or takes too long. At each collective, and so often
  // while the host waits.
  void look();
  void make_room();
  void wait_in(const InFlight& call);
  InFlight& oldest() { return in_flight_[first_ % in_flight_.size()]; }

  const nccl::Library& library_;
  Backend& backend_;
  double seconds_;
  std::unique_ptr<Queue> queue_;
  nccl::Handle handle_;
  // What was queued and had not ended when it was last looked at: a ring, so that a step allocates nothing.
  std::array<InFlight, 64> in_flight_;
  std::size_t first_ = 0, count_ = 0;
  DeviceRecord told_;
  std::int64_t queued_ = 0;
};

}  // namespace shardora
