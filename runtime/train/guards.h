// Finds memory that has changed by itself: frozen weights, by a checksum of each that is taken when they are loaded,
// and replicated state, by comparing the ranks that must hold the same bits.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/session/loaded_model.h"

namespace shardora {

// A tensor that is kept twice (for either direction of the products) is two.
class FrozenGuard {
 public:
  // Nothing is owned. Without weights that are frozen, nothing is ever found.
  FrozenGuard(Backend& backend, Decoder& decoder);
  // Throws Error(kCorruption) naming the tensor. Collective in nothing: each rank's weights are its own.
  void check(int rank) const;
  std::int64_t bytes() const;  // that a check reads

 private:
  struct Guarded {
    Decoder::FrozenBytes weight;
    std::uint64_t checksum = 0;
  };
  Backend& backend_;
  std::vector<Guarded> all_;
};

// Values and moments of replicated tensors are bitwise equal over the tensor group, and all of them over the data
// group. Where they are not, throws AgreedError(kCorruption) on all ranks, naming the tensor and the ranks that differ
// from most others (of two, both). Collective over the world.
void require_equal_replicas(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters);

// Both checks of a training run. Nothing is owned.
class MemoryGuards {
 public:
  MemoryGuards(const Context& context, LoadedModel& model)
      : context_(context), model_(model), frozen_(context.backend, model.decoder()) {}
  // Throws AgreedError(kCorruption). Collective over the world. Only a step's first check does anything.
  void check(std::int64_t step);

 private:
  const Context& context_;
  LoadedModel& model_;
  FrozenGuard frozen_;
  std::int64_t checked_step_ = -1;
};

// The rank whose seconds are the most, where they are more than kSlow times the lower median's.
inline constexpr double kSlow = 1.5;
struct Straggler {
  int rank = 0;
  double ratio = 1;  // of its seconds to the median's
};
std::optional<Straggler> find_straggler(std::span<const double> seconds_of_ranks);

class StragglerWatch {
 public:
  static constexpr int kSteps = 32;   // of a window: one small collective each
  static constexpr int kWindows = 3;  // in a row in which one rank is slow, before that is said

  // A step of this rank. Collective over the world at each window's end; then, once for each rank, what is to be said
  // of it, on all ranks alike.
  std::optional<std::string> step(Communicator& world, double own_seconds);

 private:
  double seconds_ = 0;
  int steps_ = 0, windows_ = 0, slow_rank_ = -1;
};

}  // namespace shardora
