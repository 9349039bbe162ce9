// Evaluation of a run's held-out sets (data.eval): their losses, and which step was the best so far.
#pragma once

#include <string>
#include <vector>

#include "runtime/train/inputs.h"
#include "runtime/train/magnitude_drift.h"

namespace shardora {

class HeldOutSets {
 public:
  // Nothing is owned.
  struct Parts {
    const RunOptions& options;
    const Context& context;
    const TrainInputs& inputs;
    LoadedModel& model;
    const MagnitudeDrift& drift;
    Metrics& metrics;
  };
  explicit HeldOutSets(const Parts& parts) : parts_(parts) {}
  // After the counters' step; whether their best loss is this step's. Collective over the world.
  bool evaluate(Counters& counters);
  const std::vector<Evaluation>& latest() const { return latest_; }

 private:
  Parts parts_;
  std::vector<Evaluation> latest_;
};

}  // namespace shardora
