#include "runtime/session/evaluate.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace shardora {
namespace {

nlohmann::ordered_json figures_of(const Evaluation& one) {
  return {{"loss", one.loss}, {"perplexity", one.perplexity}, {"accuracy", one.accuracy}, {"tokens", one.tokens}};
}

}  // namespace

nlohmann::ordered_json to_json(const std::vector<Evaluation>& evaluations) {
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  for (const Evaluation& one : evaluations) {
    if (one.name.empty()) return figures_of(one);
    all[one.name] = figures_of(one);
  }
  return all;
}

Dataset open_dataset(const DataSource& source, const ModelConfig& config, const DataOptions& options) {
  const std::int64_t limit = config.max_position_embeddings;
  if (options.sequence_length > limit) {
    refuse(ExitStatus::kUsage, "data.sequence_length = {} is more than this model's {} positions",
           options.sequence_length, limit);
  }
  const std::int64_t longest = options.sequence_length > 0 ? options.sequence_length : limit;
  return Dataset(source.path, config.vocab_size, longest, options.overlong);
}

void make_room(ModelUse& plan, std::span<const Dataset* const> datasets, std::int64_t sequences,
               const PackingOptions& packing) {
  const BatchLimits limits = batch_limits(datasets, sequences, packing);
  plan.limits.tokens = std::max(plan.limits.tokens, limits.tokens);
  plan.limits.sequences = std::max(plan.limits.sequences, limits.sequences);
  for (const Dataset* dataset : datasets) plan.positions = std::max(plan.positions, dataset->longest());
}

ModelUse training_plan(std::span<const Dataset* const> train, std::span<const Dataset* const> eval,
                       std::int64_t global_batch, const PackingOptions& packing) {
  ModelUse plan{.training = true};
  make_room(plan, train, global_batch, packing);
  for (const Dataset* const& dataset : eval) make_room(plan, {&dataset, 1}, kEvaluationSequences, packing);
  return plan;
}

void forward_all(LoadedModel& model, const Context& context, const Dataset& dataset, const PackingOptions& packing,
                 const BatchDone& done) {
  const ProcessGrid& grid = context.grid;
  const Decoder& decoder = model.decoder();
  const Dataset* const datasets[] = {&dataset};
  std::vector<SequenceRef> sequences;
  for (std::int64_t begin = 0; begin < dataset.size(); begin += kEvaluationSequences) {
    sequences.clear();
    for (std::int64_t i = begin; i < std::min(begin + kEvaluationSequences, dataset.size()); ++i) {
      sequences.push_back({.dataset = 0, .sequence = i, .place = i - begin});
    }
    for (const Batch& batch : micro_batches(sequences, datasets, grid.data.rank, grid.data.size, packing)) {
      const DeviceBatch on_device = decoder.upload(batch, model.activations());
      decoder.forward(model.pass(on_device, 0, false), model.activations(), {});
      if (done) done(batch, begin);
    }
  }
}

Evaluation evaluate_dataset(LoadedModel& model, const Context& context, const Dataset& dataset, const std::string& name,
                            const PackingOptions& packing) {
  Backend& backend = context.backend;
  const ProcessGrid& grid = context.grid;
  backend.zero(model.activations().loss);
  forward_all(model, context, dataset, packing);
  double sums[2] = {0, 0};
  backend.copy_to_host(view_of(std::span<double>(sums), {2}), model.activations().loss);
  backend.synchronize();
  const double loss = grid.data_group->all_reduce(sums[0], Reduction::kSum);
  const double correct = grid.data_group->all_reduce(sums[1], Reduction::kSum);
  const auto targets = static_cast<double>(dataset.targets());
  return {.name = name,
          .loss = loss / targets,
          .perplexity = std::exp(loss / targets),
          .accuracy = correct / targets,
          .tokens = dataset.targets()};
}

}  // namespace shardora
