// Optimizer steps of the small model on sequences of given lengths, as the trainer runs them: over all test ranks,
// which share either the data or the model.
#pragma once

#include <filesystem>
#include <vector>

#include "runtime/train/step.h"
#include "tests/runtime/data/dataset_file.h"
#include "tests/support/small_model.h"
#include "tests/support/temporary_folder.h"

namespace shardora::testing {

class SmallTraining {
 public:
  // Six sequences a step, in micro-batches of up to 40 tokens.
  SmallTraining(RunOptions options, const std::vector<std::int64_t>& lengths, bool tensor_parallel, int steps)
      : options_(with_six_sequences(std::move(options))),
        dataset_(write_and_open(folder_ / "data", lengths)),
        backend_(make_backend(BackendKind::kCpu, {.threads = 2})),
        log_(test_world().rank(), true),
        solo_(0, 1),
        grid_(grid_of(tensor_parallel)),
        context_{*backend_, grid_, log_, stop_, ""},
        model_(options_, context_, ModelFiles{.folder = {}, .config = small_config()},
               {.limits = batch_limits(datasets_, options_.train.global_batch, kPacking),
                .positions = dataset_.longest(),
                .training = true}),
        sampler_({{.dataset = &dataset_}}, options_.train.global_batch, true, 5),
        schedule_(options_.train, steps),
        step_({options_.train, context_, model_, sampler_, schedule_, datasets_, kPacking}) {}

  TrainStep::Result run(std::int64_t step) { return step_.run(step); }
  LoadedModel& model() { return model_; }

 private:
  static constexpr PackingOptions kPacking{.micro_batch_tokens = 40};

  static RunOptions with_six_sequences(RunOptions options) {
    options.train.global_batch = 6;
    return options;
  }
  static Dataset write_and_open(const std::filesystem::path& path, const std::vector<std::int64_t>& lengths) {
    DatasetFile file;
    file.offsets.push_back(0);
    for (const std::int64_t length : lengths) {
      for (std::int64_t t = 0; t < length; ++t) file.tokens.push_back(static_cast<std::int32_t>((7 * t + length) % 53));
      file.offsets.push_back(file.offsets.back() + length);
    }
    write_dataset(path, file);
    return Dataset(path, 53, 64, Overlong::kError);
  }
  ProcessGrid grid_of(bool tensor_parallel) {
    const GridPosition all{test_world().rank(), test_world().size()};
    ProcessGrid grid{.world = &test_world(), .data_group = &solo_, .tensor_group = &solo_};
    (tensor_parallel ? grid.tensor : grid.data) = all;
    (tensor_parallel ? grid.tensor_group : grid.data_group) = &test_world();
    return grid;
  }

  RunOptions options_;
  TemporaryFolder folder_;
  Dataset dataset_;
  const Dataset* datasets_[1] = {&dataset_};
  std::unique_ptr<Backend> backend_;
  Log log_;
  std::atomic<bool> stop_ = false;
  DryRunCommunicator solo_;
  ProcessGrid grid_;
  Context context_;
  LoadedModel model_;
  Sampler sampler_;
  Schedule schedule_;
  TrainStep step_;
};

}  // namespace shardora::testing
