// Sums of gradients over ranks, once per optimizer step, and their norm.
//
// First over the data group, in pieces: backward finishes layers from the last to the first, and what it has finished
// is summed while it goes on. Then over the tensor group: the partial and complete parts, the latter given by tensor
// rank 0 alone, so that replicas stay bitwise equal. All sums are of what each rank's micro-batches left, finished.
#pragma once

#include <array>

#include "runtime/comm/process_grid.h"
#include "runtime/model/parameters.h"

namespace shardora {

class GradientSums {
 public:
  // Elements of a part that are worth a collective of their own: 4 MiB.
  static constexpr std::int64_t kBucket = std::int64_t{1} << 20;

  // Of a set that is laid out. Nothing is owned. `bucket` is smaller in tests.
  GradientSums(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters,
               std::int64_t bucket = kBucket);

  // The gradients of this layer and of all above it are finished. In falling order of layers, alike on all ranks.
  void layer_done(std::int64_t layer);
  // All gradients are. When the backend has done what is queued now, they are summed.
  void finish();

 private:
  // The layers' stretch of one of the set's parts; what stands before and behind it is summed at the end.
  struct Part {
    std::int64_t begin = 0, end = 0;   // of the part
    std::vector<std::int64_t> starts;  // of each layer; one more: of what is behind the layers
    std::int64_t waiting = 0;          // from here on the layers' stretch is summed, or under way
  };
  void sum(std::int64_t begin, std::int64_t end);

  Backend& backend_;
  const ProcessGrid& grid_;
  const ParameterSet& parameters_;
  std::int64_t bucket_;
  std::array<Part, 3> parts_;
  Event latest_;  // of the data group's sums, which end in their order
};

// L2 norm of the reduced gradient, each logical element counted once; the same on every rank.
double gradient_norm(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters);

}  // namespace shardora
