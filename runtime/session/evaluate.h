// Loss of a model on a dataset: sum over all targets divided by their count, over all ranks.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/data/batch.h"
#include "runtime/session/loaded_model.h"

namespace shardora {

struct Evaluation {
  std::string name;  // empty for a single set
  double loss = 0, perplexity = 0, accuracy = 0;
  std::int64_t tokens = 0;  // targets
};

// One object of figures for a single set, else one a set by its name.
nlohmann::ordered_json to_json(const std::vector<Evaluation>& evaluations);

// Sequences that are packed and dealt to the data ranks at a time.
inline constexpr std::int64_t kEvaluationSequences = 1024;

// Runs this data rank's share of all sequences through the model, without dropout. `done`, where there is one, is
// called after each micro-batch: its sequence indices count from `first`.
using BatchDone = std::function<void(const Batch& batch, std::int64_t first)>;
void forward_all(LoadedModel& model, const Context& context, const Dataset& dataset, const PackingOptions& packing,
                 const BatchDone& done = {});

// Collective; the same result on every rank. Dropout is off.
Evaluation evaluate_dataset(LoadedModel& model, const Context& context, const Dataset& dataset, const std::string& name,
                            const PackingOptions& packing);

// A dataset for this model: ids and lengths are checked against it.
Dataset open_dataset(const DataSource& source, const ModelConfig& config, const DataOptions& options);

// Enlarges `plan` for micro-batches of `sequences` sequences of these sets at a time.
void make_room(ModelUse& plan, std::span<const Dataset* const> datasets, std::int64_t sequences,
               const PackingOptions& packing);
// What a training run's loaded model is made for: the largest micro-batches of its own sequences and of its
// evaluations.
ModelUse training_plan(std::span<const Dataset* const> train, std::span<const Dataset* const> eval,
                       std::int64_t global_batch, const PackingOptions& packing);

}  // namespace shardora
