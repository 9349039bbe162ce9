// Which sequences an optimizer step sees: a pure function of (seed, step), so that a resumed run, at any rank count,
// sees exactly what the uninterrupted one would have. A step may cross an epoch's end.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/data/dataset.h"

namespace shardora {

struct SequenceRef {
  std::int64_t dataset = 0;   // index into the mixture
  std::int64_t sequence = 0;  // index into that dataset
  std::int64_t place = 0;     // in the global batch, from 0: keys the dropout masks
};

struct StepPlan {
  std::vector<SequenceRef> sequences;  // global_batch of them (fewer: end_after), in order of place
  std::int64_t target_count = 0;       // over the whole step: what the loss is divided by; never 0
  std::int64_t token_count = 0;
};

// A mixture draws from each dataset in proportion to its share, in a fixed interleaving; each dataset runs through its
// own epochs. Shuffled: each epoch of each dataset is a permutation keyed by (seed, dataset, epoch). Not shuffled: file
// order, wrapping at the end.
class Sampler {
 public:
  struct Source {
    const Dataset* dataset = nullptr;  // not owned, not empty
    double share = 1;
  };
  Sampler(std::vector<Source> sources, std::int64_t global_batch, bool shuffle, std::uint64_t seed);

  // Step k counts from 1. Throws Error(kBadInput) naming the step where it has no target at all. Written over an
  // earlier step's plan, nothing is allocated.
  void plan(std::int64_t step, StepPlan& plan) const;
  StepPlan plan(std::int64_t step) const;
  // Optimizer steps in so many epochs of the (first, for a mixture: whole) set: ceil(epochs * sequences /
  // global_batch).
  std::int64_t steps_in(double epochs) const;
  // The same number, where the last of these steps has what is left of the epochs, not repeated data. A rest without a
  // target is left out.
  std::int64_t end_after(double epochs);
  void never_end() { draws_ = 0; }
  // Epochs of each source in a step: more than 1 where it repeats sequences.
  std::vector<double> epochs_in(std::int64_t step) const;

 private:
  std::int64_t draws_in(double epochs) const;
  std::int64_t sequences_of(std::int64_t step) const;
  void draw(std::int64_t step, StepPlan& plan) const;
  std::int64_t pick(std::int64_t source, std::int64_t draw) const;  // the draw-th sequence of a source
  std::vector<Source> sources_;
  std::int64_t global_batch_;
  std::int64_t draws_ = 0;  // of the whole run; 0: no end
  bool shuffle_;
  std::uint64_t seed_;
  std::vector<std::int64_t> pattern_;  // the interleaving: source of each draw of one period
  std::vector<std::int64_t> quotas_;   // draws of each source in one period
  mutable std::vector<std::pair<std::int64_t, std::vector<std::int64_t>>> permutations_;  // per source: epoch, order
  mutable std::vector<std::int64_t> drawn_;                                               // plan()'s own
};

}  // namespace shardora
