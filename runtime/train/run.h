// What the commands do, behind one call each. All ranks call; results are the same on every rank.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/comm/process_grid.h"
#include "runtime/comm/watchdog.h"
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
  Watchdog* watchdog = nullptr;             // null: nobody watches
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

// What a model makes of a file of multiple-choice questions. It chooses the option of the highest log-likelihood, the
// first of equals.
struct ChoiceScores {
  std::string name;  // empty for a single file
  std::int64_t questions = 0;
  double accuracy = 0;            // share of questions whose right option is chosen
  double accuracy_per_token = 0;  // the same, by the log-likelihood over the option's count of tokens
  double chance = 0;              // of a choice at random
};

struct EvalSummary {
  std::vector<Evaluation> sets;
  std::vector<ChoiceScores> choices;
};
// model.path, optional adapter.path, data.eval, eval.*.
EvalSummary evaluate(const RunOptions& options, const Machine& machine);

struct MergeSummary {
  std::string output;
  std::int64_t tensors = 0, merged_modules = 0, bytes = 0;
  double seconds = 0;                      // of reading and writing
  std::optional<double> logit_difference;  // with merge.verify: see merge_verify.h
};
// model.path, adapter.path, output.dir, merge.*.
MergeSummary merge(const RunOptions& options, const Machine& machine);

// One layer's weight at one point of training against the base: see runtime/adapter/decomposition.h.
struct AnalyzedModule {
  std::int64_t step = 0;  // of the checkpoint; 0: of a single adapter or model
  std::string module;     // "model.layers.0.self_attn.q_proj"
  std::string projection() const { return module.substr(module.rfind('.') + 1); }
  std::int64_t layer = 0;
  double magnitude = 0, direction = 0, base_magnitude = 0;  // dM, dD, mean of m_0
};
struct Analysis {
  std::string method;                   // dora, lora, full
  bool output_axis = true;              // vectors are rows
  std::vector<AnalyzedModule> modules;  // by step, then in the model's order
};
// model.path, and one of adapter.path, analyze.tuned, analyze.checkpoints. The same at any number of ranks.
Analysis analyze(const RunOptions& options, const Machine& machine);

}  // namespace shardora
