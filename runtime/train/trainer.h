// The training loop, and what stands around it: starting fresh, from an adapter or from a checkpoint; evaluation,
// saving, stopping in time; the files a run leaves. train() in run.h is its only user.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/data/batch.h"
#include "runtime/observe/metrics.h"
#include "runtime/observe/progress.h"
#include "runtime/run/background_write.h"
#include "runtime/run/checkpoints.h"
#include "runtime/run/run_folder.h"
#include "runtime/run/run_identity.h"
#include "runtime/run/run_state.h"
#include "runtime/session/evaluate.h"
#include "runtime/train/frozen_guard.h"
#include "runtime/train/schedule.h"
#include "runtime/train/step.h"
#include "runtime/train/stragglers.h"
#include "runtime/train/train.h"

namespace shardora {

class Trainer {
 public:
  Trainer(const RunOptions& options, const Context& context);
  ~Trainer();
  // Everything that can be refused is refused before weights are read. However it ends once the output folder is this
  // run's, exit.json says so: by rank 0, or by the rank that alone knows of an error. Collective over the world.
  TrainSummary run();

 private:
  TrainSummary loop();
  void record_failure(ExitStatus status, const std::string& reason, bool known_to_all);
  // trainer_start.cc
  void start();
  void open_output();
  void open_inputs();
  void choose_steps();
  void fill_last_step();
  void load_model();
  void resume();
  void prepare_for_a_lost_peer();
  void warn_of_another_level(const std::string& saved);
  void say_hello() const;
  // trainer.cc
  void report(std::int64_t step, const TrainStep::Result& done);
  double flops_per_second_of_a_rank(double flops, double seconds) const;
  std::optional<double> utilisation(double flops_per_second) const;
  void evaluate_all(std::int64_t step);
  bool has_stopped_gaining() const;
  enum class Stop { kNo, kTimeLimit, kSignal };
  struct Decision {
    Stop stop = Stop::kNo;
    bool save = false;
  };
  Stop asked_to_stop(bool time_is_up);
  Decision decide(std::int64_t step, double step_seconds);
  // trainer_guards.cc
  void check_memory(std::int64_t step);
  TrainStep::Result run_step(std::int64_t step);
  double waited_seconds() const;  // in collectives so far
  void watch_stragglers(const TrainStep::Result& done, double waited_before);
  // trainer_drift.cc
  template <class Use>
  void for_own_magnitudes(const Use& use);  // use(name, m, m0), of this rank's shards
  std::optional<StepMetrics::Drift> magnitude_drift();
  std::vector<double> drift_by_layer();  // means; NaN where a layer has no magnitude; empty without DoRA
  // trainer_save.cc
  void save(std::int64_t step);
  TrainSummary finish(std::int64_t step, Stop stopped);
  // The values that train, and what else a checkpoint holds, on rank 0's host: complete there, empty elsewhere.
  struct Values {
    PeftAdapter adapter;
    TensorMap model;  // full: in place of an adapter
  };
  struct Snapshot {
    Values values;
    TensorMap state;
    Counters counters;
  };
  Values gather_values();
  Snapshot gather_snapshot();
  void commit(Snapshot& snapshot);
  void collect_save();
  void wait_for_save();
  void write_values(const std::filesystem::path& folder, Values& values);
  void say_peak();
  void say_speed();
  void take_best(const std::filesystem::path& output);
  std::optional<TrainSummary> finished_before();

  bool writes() const { return context_.grid.world->rank() == 0; }

  RunOptions options_;
  Context context_;
  std::unique_ptr<RunFolder> folder_;         // rank 0
  bool folder_is_ours_ = false;               // known to all ranks
  std::unique_ptr<Checkpoints> checkpoints_;  // rank 0
  std::string resume_from_;                   // a checkpoint's path; empty: from the start
  std::optional<TrainSummary> earlier_;       // the run was finished before
  ModelFiles files_;
  std::vector<Dataset> train_sets_, eval_sets_;
  std::vector<const Dataset*> train_views_;
  RunIdentity identity_;
  std::unique_ptr<Sampler> sampler_;
  PackingOptions packing_;
  std::int64_t steps_ = 0;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<LoadedModel> model_;
  std::unique_ptr<FrozenGuard> frozen_;
  std::unique_ptr<TrainStep> step_;
  StragglerWatch stragglers_;
  InitialMagnitudes initial_magnitudes_;
  Counters counters_;
  Metrics metrics_;
  std::vector<Evaluation> evaluations_;
  double started_ = 0, last_save_ = 0, save_seconds_ = 0, last_loss_ = 0, trained_seconds_ = 0, trained_flops_ = 0;
  std::shared_ptr<std::atomic<std::int64_t>> done_steps_;  // for the watchdog, which may outlive this
  std::int64_t trained_tokens_ = 0, saved_step_ = -1, checked_step_ = -1;
  BackgroundWrite writing_;  // rank 0, output.background_save; last, as it uses what stands above
};

}  // namespace shardora
