// Loss of a model on a dataset: sum over all targets divided by their count, over all ranks.
#pragma once

#include "runtime/data/batch.h"
#include "runtime/train/instance.h"

namespace shardora {

// Sequences that are packed and dealt to the data ranks at a time.
inline constexpr std::int64_t kEvaluationSequences = 1024;

// Collective; the same result on every rank. Dropout is off.
Evaluation evaluate_dataset(Instance& instance, const Machine& machine, const Dataset& dataset, const std::string& name,
                            const PackingOptions& packing);

// A dataset for this model: ids and lengths are checked against it.
Dataset open_dataset(const DataSource& source, const ModelConfig& config, const DataOptions& options);

// What a training run's instance is made for: the largest micro-batches of its own sequences and of its evaluations.
InstancePlan training_plan(std::span<const Dataset* const> train, std::span<const Dataset* const> eval,
                           std::int64_t global_batch, const PackingOptions& packing);

}  // namespace shardora
