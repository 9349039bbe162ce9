// Communicator: collectives over one group of ranks. Called by all ranks of the group or by none, in the same order.
// Handed in, never global. Every call is asynchronous in form: it starts after the event `after` and returns the event
// of its end; a communicator that works at once returns an event that has passed. A group's collectives end in the
// order in which they were called.
//
// A group on a device reduces memory of the device; what stands on the host goes through the group's host().
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace shardora {

enum class Reduction : std::uint8_t { kSum, kMax, kMin };

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // In place over the view (fp32, float64, int32 or int64; on a device bfloat16 as well); the result is the same on
  // every rank, to the bit.
  virtual Event all_reduce(TensorView values, Reduction reduction, const Event& after) = 0;
  // Bytes of `root` to all.
  virtual Event broadcast(TensorView values, int root, const Event& after) = 0;
  // The same ranks in the same order, for memory of the host. A group on the host is its own.
  virtual Communicator& host() = 0;
  // For the host while it waits for a device, and once, with waits = false, when it waits no more. Throws
  // Error(kStoppedEarly), naming group and operation, where a collective has failed or has not ended in time. Not
  // collective.
  virtual void check(bool /*waits*/) {}
  // Host bytes of every rank, in rank order, on `root` (empty elsewhere). Sizes may differ.
  virtual std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine, int root) = 0;
  virtual void barrier() = 0;

  // Small values of the host, complete on return.
  double all_reduce(double value, Reduction reduction);
  std::int64_t all_reduce(std::int64_t value, Reduction reduction);
  // Any string of rank `root` on all ranks; any strings of all ranks, in rank order, on rank 0 (empty elsewhere).
  std::string broadcast(const std::string& text, int root);
  std::vector<std::string> gather_text(const std::string& mine);
};

// The host waits for an event of the backend and checks the groups meanwhile: a peer that is lost ends the wait.
void wait_on_host(Backend& backend, const Event& event, std::span<Communicator* const> groups);

}  // namespace shardora
