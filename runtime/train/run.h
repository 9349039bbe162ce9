// What the commands do, behind one call each. All ranks call; results are the same on every rank.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/comm/process_grid.h"
#include "runtime/observe/log.h"
#include "runtime/options.h"

namespace shardora {

// Where a command runs. Nothing is owned.
struct Machine {
  Backend& backend;
  const ProcessGrid& grid;
  Log& log;
  const std::atomic<bool>& stop_requested;  // set by a signal handler
  std::string resolved_config;              // text of config.resolved.cfg
  int ranks_on_host = 1;                    // they share its memory
  int ranks_on_device = 1;                  // and that of a device, where they were asked to
};

struct Evaluation {
  std::string name;  // empty for a single set
  double loss = 0, perplexity = 0, accuracy = 0;
  std::int64_t tokens = 0;  // targets
};

struct TrainSummary {
  std::int64_t steps = 0;
  double loss = 0;                      // of the last optimizer step
  std::vector<Evaluation> evaluations;  // at the end
  double seconds = 0, tokens_per_second = 0;
  std::int64_t trained_parameters = 0, total_parameters = 0;
  bool stopped_early = false;  // by a signal or a time limit, with a checkpoint: exit status 75
  std::string output;          // the adapter's (or, with method full, the model's) folder
};
// Writes output.dir as documented. Errors: Error or AgreedError with the status to exit with.
TrainSummary train(const RunOptions& options, const Machine& machine);

// model.path, optional adapter.path, data.eval.
std::vector<Evaluation> evaluate(const RunOptions& options, const Machine& machine);

struct MergeSummary {
  std::string output;
  std::int64_t tensors = 0, merged_modules = 0, bytes = 0;
  std::optional<double> logit_difference;  // with merge.verify: see merge_verify.h
};
// model.path, adapter.path, output.dir, merge.*.
MergeSummary merge(const RunOptions& options, const Machine& machine);

}  // namespace shardora
