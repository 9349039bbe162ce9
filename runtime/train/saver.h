// Writes what a training run leaves: checkpoints on the way, the adapter (or, with method full, the model) at the end.
//
// All ranks check their memory, gather and agree; then rank 0 alone writes, by output.background_save in a thread of
// its own that calls no MPI. Collective over the world, but for seconds().
#pragma once

#include "runtime/train/guards.h"
#include "runtime/train/run_output.h"

namespace shardora {

class Saver {
 public:
  // Nothing is owned.
  struct Parts {
    const RunOptions& options;
    const Context& context;
    LoadedModel& model;
    const InitialMagnitudes& initial_magnitudes;
    const Counters& counters;
    MemoryGuards& guards;
    RunOutput& output;
  };
  explicit Saver(const Parts& parts);

  bool is_due();   // by output.checkpoint_every, and rank 0's clock
  void save();     // a checkpoint of the counters' step, unless there is one
  void collect();  // a background save that has ended: its error ends the run at this step on all ranks
  void wait();     // for a background save
  double seconds() const { return seconds_; }  // that the last save took, on rank 0

  // How a run ends: `summary` completed by the folder that holds what was trained, and exit.json.
  TrainSummary stop_early(TrainSummary summary, const char* reason);
  // The last step's or the best evaluation's adapter (or model), and result.json.
  TrainSummary finish(TrainSummary summary);

 private:
  Parts parts_;
  double last_save_, seconds_ = 0;
  std::int64_t saved_step_;
};

}  // namespace shardora
