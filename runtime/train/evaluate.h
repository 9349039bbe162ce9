// Loss of a model on a dataset: sum over all targets divided by their count, over all ranks.
#pragma once

#include <functional>

#include "runtime/data/batch.h"
#include "runtime/train/instance.h"

namespace shardora {

// Sequences that are packed and dealt to the data ranks at a time.
inline constexpr std::int64_t kEvaluationSequences = 1024;

// Runs this data rank's share of all sequences through the model, without dropout. `done`, where there is one, is
// called after each micro-batch: its places count from sequence `first`.
using BatchDone = std::function<void(const Batch& batch, std::int64_t first)>;
void forward_all(Instance& instance, const Machine& machine, const Dataset& dataset, const PackingOptions& packing,
                 const BatchDone& done = {});

// Collective; the same result on every rank. Dropout is off.
Evaluation evaluate_dataset(Instance& instance, const Machine& machine, const Dataset& dataset, const std::string& name,
                            const PackingOptions& packing);

// A dataset for this model: ids and lengths are checked against it.
Dataset open_dataset(const DataSource& source, const ModelConfig& config, const DataOptions& options);

// What a training run's instance is made for: the largest micro-batches of its own sequences and of its evaluations.
InstancePlan training_plan(std::span<const Dataset* const> train, std::span<const Dataset* const> eval,
                           std::int64_t global_batch, const PackingOptions& packing);

}  // namespace shardora
