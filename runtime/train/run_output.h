// output.dir of a training run: claiming it, the checkpoint to resume from, metrics.jsonl, and exit.json.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "runtime/observe/metrics.h"
#include "runtime/run/background_write.h"
#include "runtime/run/checkpoints.h"
#include "runtime/run/run_folder.h"
#include "runtime/run/run_state.h"
#include "runtime/train/inputs.h"
#include "runtime/train/summary.h"

namespace shardora {

class RunOutput {
 public:
  // Rank 0 claims the folder and chooses what to resume; all ranks then know it. From here on the folder is this run's.
  // Inputs and steps may change to those of an older run that is resumed. Nothing is owned. Throws AgreedError.
  // Collective over the world.
  RunOutput(const RunOptions& options, const Context& context, TrainInputs& inputs, TrainSteps& steps);
  ~RunOutput();
  RunOutput(const RunOutput&) = delete;
  RunOutput& operator=(const RunOutput&) = delete;

  const std::optional<TrainSummary>& finished_before() const { return earlier_; }  // result of an earlier start
  const std::string& checkpoint() const { return checkpoint_; }  // to resume from; empty: from the beginning
  bool resumes_own_checkpoint() const;                           // else it may stand in another run's folder
  // The state of that checkpoint, into the model; zeros where there is none. Collective over the world.
  Counters restore(LoadedModel& model, InitialMagnitudes& initial, std::int64_t steps);

  void step_done(std::int64_t step) { *done_steps_ = step; }
  // Within a catch block. Launch scripts decide by exit.json whether to start again. Written by rank 0, or by the rank
  // that alone knows of the error.
  void record_failure() const;

  // Of rank 0 alone.
  RunFolder& folder() { return *folder_; }
  Checkpoints& checkpoints() { return *checkpoints_; }
  const RunIdentity& identity() const { return identity_; }
  // On other ranks without effect.
  Metrics& metrics() { return metrics_; }
  BackgroundWrite& background() { return background_; }  // output.background_save

 private:
  struct Chosen {
    std::string manifest_checksum;
    bool fills_last_step = false;
  };
  Chosen claim(TrainInputs& inputs, TrainSteps& steps);
  void tell_all_ranks(const Chosen& chosen, TrainInputs& inputs, TrainSteps& steps);
  void record_a_lost_peer();
  void warn_of_another_level(const std::string& saved) const;
  std::optional<TrainSummary> earlier_result(std::int64_t steps) const;
  bool writes() const { return context_.grid.world->rank() == 0; }

  const RunOptions& options_;
  const Context& context_;
  const RunIdentity& identity_;
  std::unique_ptr<RunFolder> folder_;
  std::unique_ptr<Checkpoints> checkpoints_;
  Metrics metrics_;
  std::string checkpoint_;
  std::optional<TrainSummary> earlier_;
  std::shared_ptr<std::atomic<std::int64_t>> done_steps_;  // for the watchdog, which may outlive this
  BackgroundWrite background_;  // last, as it uses what stands above; waited for after a failure has been recorded
};

}  // namespace shardora
