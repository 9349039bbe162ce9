// What a training run is given: model files and datasets, opened and checked before any weight is read, and the
// optimizer steps that follow from them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/data/batch.h"
#include "runtime/run/run_identity.h"
#include "runtime/session/evaluate.h"
#include "runtime/train/schedule.h"

namespace shardora {

struct TrainInputs {
  ModelFiles files;
  std::vector<Dataset> train_sets, eval_sets;
  RunIdentity identity;
  PackingOptions packing;
};
// Throws AgreedError. Collective over the world, as all that follows.
TrainInputs open_inputs(const RunOptions& options, const Context& context);
std::vector<const Dataset*> pointers_to(const std::vector<Dataset>& sets);

struct TrainSteps {
  std::int64_t count = 0;
  Sampler sampler;
  Schedule learning_rate;
};
TrainSteps choose_steps(const RunOptions& options, const Context& context, const TrainInputs& inputs);

// With the adapter that the run begins with, or, where `checkpoint` is not empty, with that folder's adapter (or
// model).
std::unique_ptr<LoadedModel> load_model(const RunOptions& options, const Context& context, TrainInputs& inputs,
                                        const std::string& checkpoint);

}  // namespace shardora
