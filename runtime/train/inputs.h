// What a training run is given: model files and datasets, opened and checked before any weight is read, and the
// optimizer steps that follow from them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/data/batch.h"
#include "runtime/run/run_identity.h"
#include "runtime/session/evaluate.h"
#include "runtime/train/optimizer.h"

namespace shardora {

struct TrainInputs {
  ModelFiles files;
  std::vector<Dataset> train_sets, eval_sets;
  std::vector<const Dataset*> train_views, eval_views;  // of these
  RunIdentity identity;
  PackingOptions packing;
};
// Throws AgreedError. Collective over the world, as all that follows.
TrainInputs open_inputs(const RunOptions& options, const Context& context);

struct TrainSteps {
  std::int64_t count = 0;
  Sampler sampler;
  Schedule learning_rate;
};
TrainSteps choose_steps(const RunOptions& options, const Context& context, const TrainInputs& inputs);
// For a run begun when the last step of its epochs was filled with repeated data: it ends like that.
void fill_last_step(const RunOptions& options, TrainInputs& inputs, TrainSteps& steps);

// With the adapter that the run begins with, or, where `checkpoint` is not empty, with that folder's adapter (or
// model).
std::unique_ptr<LoadedModel> load_model(const RunOptions& options, const Context& context, TrainInputs& inputs,
                                        const std::string& checkpoint);

}  // namespace shardora
