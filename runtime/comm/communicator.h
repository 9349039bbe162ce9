// Communicator: collectives over one group of ranks. Called by all ranks of the group or by none, in the same order.
// Handed in, never global. Every call is asynchronous in form: it starts after the event `after` and returns the event
// of its end; a communicator that works at once returns an event that has passed.
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

  // In place over the view (fp32, float64, int32 or int64); the result is the same on every rank.
  virtual Event all_reduce(TensorView values, Reduction reduction, const Event& after) = 0;
  // Bytes of `root` to all.
  virtual Event broadcast(TensorView values, int root, const Event& after) = 0;
  // Host bytes of every rank, in rank order, on `root` (empty elsewhere). Sizes may differ.
  virtual std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine, int root) = 0;
  virtual void barrier() = 0;

  // Small host-side values, complete on return.
  double all_reduce(double value, Reduction reduction);
  std::int64_t all_reduce(std::int64_t value, Reduction reduction);
  // Any string of rank `root` on all ranks.
  std::string broadcast(const std::string& text, int root);
};

}  // namespace shardora
