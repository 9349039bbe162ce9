// What a training run measures and reports: the table at its start, its steps and their losses on held-out sets, speed
// and memory at its end.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/train/inputs.h"
#include "runtime/train/magnitude_drift.h"
#include "runtime/train/step.h"
#include "runtime/train/summary.h"

namespace shardora {

// Logical parameters that train, by kind: A, B, m, or weights under full; kinds without any are absent.
std::vector<std::pair<std::string, std::int64_t>> trained_by_kind(const ParameterSet& parameters);

struct StartFacts {
  std::string model, weights, device;  // weights: how frozen ones are kept; empty: none are
  std::int64_t parameters = 0;         // of the whole model
  const ParameterSet& trained;
  const ProcessGrid& grid;
  std::int64_t first_step = 1, steps = 0, sequences = 0, micro_batches = 0;  // of a step; micro-batches of this rank
  const MemoryPlan& memory;
};
// One line a fact, then the memory of a rank by segment.
std::string start_table(const StartFacts& facts);

class RunReport {
 public:
  // Nothing is owned.
  struct Parts {
    const RunOptions& options;
    const Context& context;
    const TrainInputs& inputs;
    const TrainSteps& steps;
    LoadedModel& model;
    const MagnitudeDrift& drift;
    Metrics& metrics;
  };
  explicit RunReport(const Parts& parts) : parts_(parts) {}
  void log_configuration(std::int64_t first_step) const;
  void report_step(std::int64_t step, const TrainStep::Result& done);  // collective over the tensor group
  // The held-out sets' losses after the counters' step; whether it is the best step so far. Collective over the world.
  bool evaluate(Counters& counters);
  void log_speed() const;
  void log_peak_memory() const;                                                // collective over the world
  const std::vector<Evaluation>& evaluations() const { return evaluations_; }  // the latest
  // Steps, loss, speed and sizes.
  TrainSummary summary(std::int64_t steps, double seconds) const;

 private:
  double flops_per_second_of_a_rank(double flops, double seconds) const;
  std::optional<double> utilisation(double flops_per_second) const;
  std::int64_t parameters_of_the_model() const;

  Parts parts_;
  double last_loss_ = 0;
  std::vector<Evaluation> evaluations_;
  std::int64_t tokens_ = 0;  // since this start
  double seconds_ = 0, flops_ = 0;
};

}  // namespace shardora
