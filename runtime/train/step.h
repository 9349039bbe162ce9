// One optimizer step, the whole of it: what the training loop repeats, and what tests/bench measures.
#pragma once

#include <span>

#include "runtime/data/batch.h"
#include "runtime/observe/phases.h"
#include "runtime/train/instance.h"
#include "runtime/train/schedule.h"

namespace shardora {

struct StepResult {
  double loss = 0, gradient_norm = 0;  // mean over the step's targets; before clipping
  double seconds = 0;
  std::int64_t tokens = 0;  // over all ranks
  PhaseSeconds phases{};    // of this rank; they add up to seconds
};

class TrainStep {
 public:
  // What a step reads. Nothing is owned.
  struct Sources {
    const Sampler& sampler;
    std::span<const Dataset* const> datasets;
    PackingOptions packing;
    const Schedule& schedule;
  };
  TrainStep(const TrainOptions& options, const Machine& machine, Instance& instance, const Sources& sources)
      : options_(options), machine_(machine), instance_(instance), sources_(sources) {}

  // Forward and backward of every micro-batch of this rank, sums over ranks, the optimizer, new norms. Collective over
  // the world. Throws AgreedError(kNotFinite), nothing applied, where loss or gradient is not finite.
  StepResult run(std::int64_t step);

 private:
  void accumulate(const StepPlan& plan, std::int64_t step, PhaseClock& clock);
  double mean_loss(const StepPlan& plan);

  TrainOptions options_;
  Machine machine_;
  Instance& instance_;  // not owned
  Sources sources_;
};

}  // namespace shardora
