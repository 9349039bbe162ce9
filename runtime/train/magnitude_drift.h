// How far DoRA's magnitudes have moved since the run began: abs(m / m0 - 1). Collective over the tensor group.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/observe/metrics.h"
#include "runtime/run/run_state.h"

namespace shardora {

class MagnitudeDrift {
 public:
  // Takes the model's magnitudes as they are now for the initial ones. Nothing is owned.
  MagnitudeDrift(const Context& context, LoadedModel& model);
  InitialMagnitudes& initial() { return initial_; }
  std::optional<StepMetrics::Drift> of_all() const;  // empty without DoRA
  std::vector<double> by_layer() const;              // means; NaN where a layer has no magnitude; empty without DoRA

 private:
  template <class Use>
  void for_own_magnitudes(const Use& use) const;  // use(name, m, m0), of this rank's shards

  const Context& context_;
  LoadedModel& model_;
  InitialMagnitudes initial_;
};

}  // namespace shardora
