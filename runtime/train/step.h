// One optimizer step of all ranks: what the training loop repeats, and what tests/bench measures.
//
// A step begins with the choice of its sequences and ends with the norms of the values that it has written. In between
// nothing is allocated on any thread, but for: the first steps (thread pools, and whatever a library makes on first
// use), the first micro-batch of a token count (the products' primitives), the rare repair of norms that cancel
// (Adapter::repair_cancelling), an error that ends the run, and what MPI and oneDNN take and give back within a call.
// What stands around a step may allocate: metrics, progress, evaluation, checkpoints.
#pragma once

#include "runtime/data/batch.h"
#include "runtime/observe/cost_model.h"
#include "runtime/observe/phases.h"
#include "runtime/session/loaded_model.h"
#include "runtime/train/gradients.h"
#include "runtime/train/guards.h"
#include "runtime/train/optimizer.h"

namespace shardora {

class TrainStep {
 public:
  // Nothing is owned.
  struct Parts {
    const TrainOptions& options;
    const Context& context;
    LoadedModel& model;
    const Sampler& sampler;
    const Schedule& schedule;
    std::span<const Dataset* const> datasets;  // the sampler's
    PackingOptions packing;
    MemoryGuards* guards = nullptr;  // looked at where something is not finite; null: they are not
  };
  struct Result {
    double loss = 0, gradient_norm = 0;  // mean over the step's targets; before clipping
    double seconds = 0;                  // of the device
    double waited_seconds = 0;           // of this rank, in collectives, where a watchdog counts them
    std::int64_t tokens = 0;             // over all ranks
    double model_flops = 0;              // over all ranks: see ModelFlops
    PhaseSeconds phases{};               // of this rank; they add up to seconds
    bool skipped = false;                // loss or gradient was not finite: nothing was applied
  };

  explicit TrainStep(const Parts& parts);
  // Step k counts from 1. Collective over the world. Where loss or gradient is not finite, nothing is applied: the step
  // is skipped if options.skip_nonfinite allows one more in a row (of this process), else throws
  // AgreedError(kNotFinite); where the guards find that memory has changed by itself, AgreedError(kCorruption).
  Result run(std::int64_t step);

 private:
  ProfilerRange range(std::string_view name, std::int64_t index) const;
  double waited_seconds() const;
  void start(std::int64_t step);
  bool finishes_by_layer() const;
  void finish_layer(std::int64_t layer);
  void finish_layers_without_a_sequence();
  void wait_for_device() const;
  double mean_loss() const;
  double model_flops() const;
  bool skips(std::int64_t step, double loss, double gradient_norm);
  void update(std::int64_t step, double gradient_norm);

  Parts parts_;
  StepPlan plan_;
  Packer packer_;
  PhaseClock clock_;
  GradientSums sums_;
  Decoder::LayerDone layer_done_;  // in the last micro-batch; empty where gradients are finished all at once
  ModelFlops model_flops_;
  std::int64_t skipped_in_a_row_ = 0;
};

}  // namespace shardora
