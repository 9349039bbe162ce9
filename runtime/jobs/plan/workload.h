// What a run's optimizer steps are made of: the sequences of a dataset, or, without one, so many of one length.
#pragma once

#include "runtime/session/model_spec.h"

namespace shardora {

class Workload {
 public:
  // Reads data.train and data.eval where they are given. Throws Error naming the file or the key.
  Workload(const RunOptions& options, const ModelConfig& config);

  ModelUse model_use(const PackingOptions& packing) const;
  // Of the data rank that has the most tokens to work on. `data_size`: at most train.global_batch.
  StepLoad load(int data_size, const PackingOptions& packing) const;
  double tokens_per_step() const { return tokens_per_step_; }
  double steps() const { return steps_; }  // of the whole run; 0: not known
  std::int64_t longest() const { return longest_; }

 private:
  void take_datasets(const RunOptions& options, const ModelConfig& config);
  void take_length(const RunOptions& options, const ModelConfig& config);
  StepLoad load_of_one_length(int data_size, const PackingOptions& packing) const;

  std::vector<Dataset> datasets_, eval_sets_;
  std::vector<std::vector<SequenceRef>> sampled_;  // sequences of the first steps
  std::int64_t global_batch_, longest_ = 0;
  double tokens_per_step_ = 0, steps_ = 0;
};

}  // namespace shardora
