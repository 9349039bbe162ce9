#include "runtime/train/evaluate.h"

#include <algorithm>
#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/io/files.h"
#include "runtime/train/choices.h"

namespace shardora {

Dataset open_dataset(const DataSource& source, const ModelConfig& config, const DataOptions& options) {
  const std::int64_t limit = config.max_position_embeddings;
  if (options.sequence_length > limit) {
    refuse(ExitStatus::kUsage, "data.sequence_length = {} is more than this model's {} positions",
           options.sequence_length, limit);
  }
  const std::int64_t longest = options.sequence_length > 0 ? options.sequence_length : limit;
  return Dataset(source.path, config.vocab_size, longest, options.overlong);
}

namespace {

// Room for micro-batches of so many sequences of these sets at a time.
void make_room(InstancePlan& plan, std::span<const Dataset* const> datasets, std::int64_t sequences,
               const PackingOptions& packing) {
  const BatchLimits limits = batch_limits(datasets, sequences, packing);
  plan.limits.tokens = std::max(plan.limits.tokens, limits.tokens);
  plan.limits.sequences = std::max(plan.limits.sequences, limits.sequences);
  for (const Dataset* dataset : datasets) plan.positions = std::max(plan.positions, dataset->longest());
}

}  // namespace

InstancePlan training_plan(std::span<const Dataset* const> train, std::span<const Dataset* const> eval,
                           std::int64_t global_batch, const PackingOptions& packing) {
  InstancePlan plan{.training = true};
  make_room(plan, train, global_batch, packing);
  for (const Dataset* const& dataset : eval) make_room(plan, {&dataset, 1}, kEvaluationSequences, packing);
  return plan;
}

void forward_all(Instance& instance, const Machine& machine, const Dataset& dataset, const PackingOptions& packing,
                 const BatchDone& done) {
  const ProcessGrid& grid = machine.grid;
  const Decoder& decoder = instance.decoder();
  const Dataset* const datasets[] = {&dataset};
  std::vector<SequenceRef> sequences;
  for (std::int64_t begin = 0; begin < dataset.size(); begin += kEvaluationSequences) {
    sequences.clear();
    for (std::int64_t i = begin; i < std::min(begin + kEvaluationSequences, dataset.size()); ++i) {
      sequences.push_back({.dataset = 0, .sequence = i, .place = i - begin});
    }
    for (const Batch& batch : micro_batches(sequences, datasets, grid.data.rank, grid.data.size, packing)) {
      const DeviceBatch on_device = decoder.upload(batch, instance.activations());
      decoder.forward(instance.pass(on_device, 0, false), on_device, instance.activations(), {});
      if (done) done(batch, begin);
    }
  }
}

Evaluation evaluate_dataset(Instance& instance, const Machine& machine, const Dataset& dataset, const std::string& name,
                            const PackingOptions& packing) {
  Backend& backend = machine.backend;
  const ProcessGrid& grid = machine.grid;
  backend.zero(instance.activations().loss);
  forward_all(instance, machine, dataset, packing);
  double sums[2] = {0, 0};
  backend.copy_to_host(view_of(std::span<double>(sums), {2}), instance.activations().loss);
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

namespace {

struct OpenSets {
  ModelFiles files;
  std::vector<Dataset> sets;
  std::vector<ChoiceSet> choices;
};

void open_sets(const RunOptions& options, OpenSets& open) {
  const ModelConfig& config = open.files.config;
  for (const DataSource& source : options.data.eval) open.sets.push_back(open_dataset(source, config, options.data));
  for (const DataSource& source : options.eval.choices) {
    open.choices.emplace_back(source.path, config.vocab_size, config.max_position_embeddings);
  }
}

InstancePlan plan_for(const OpenSets& open, const PackingOptions& packing) {
  InstancePlan plan{.row_scores = !open.choices.empty()};
  const auto add = [&](const Dataset& dataset) {
    const Dataset* const one[] = {&dataset};
    make_room(plan, one, kEvaluationSequences, packing);
  };
  for (const Dataset& dataset : open.sets) add(dataset);
  for (const ChoiceSet& choices : open.choices) add(choices.options());
  return plan;
}

Fingerprint fingerprint_of(const OpenSets& open) {
  Fingerprint fingerprint = {{"model", open.files.fingerprint + open.files.adapter_fingerprint}};
  for (const Dataset& dataset : open.sets) fingerprint.emplace_back("data", dataset.fingerprint());
  for (const ChoiceSet& choices : open.choices) fingerprint.emplace_back("choices", choices.fingerprint());
  return fingerprint;
}

}  // namespace

EvalSummary evaluate(const RunOptions& options, const Machine& machine) {
  OpenSets open{.files = open_model_files(options, machine)};
  const bool writes = machine.grid.world->rank() == 0 && !options.eval.scores.empty();
  agree(*machine.grid.world, [&] {
    if (writes) require_place("eval.scores", options.eval.scores);
    open_sets(options, open);
  });
  require_agreement(*machine.grid.world, fingerprint_of(open));
  const PackingOptions packing{options.train.micro_batch_tokens, options.data.packing};
  Instance instance(options, machine, open.files, plan_for(open, packing));
  EvalSummary summary;
  for (std::size_t i = 0; i < open.sets.size(); ++i) {
    summary.sets.push_back(evaluate_dataset(instance, machine, open.sets[i], options.data.eval[i].name, packing));
  }
  std::string lines;
  for (std::size_t i = 0; i < open.choices.size(); ++i) {
    const std::string& name = options.eval.choices[i].name;
    const std::vector<double> likelihoods = option_log_likelihoods(instance, machine, open.choices[i], packing);
    summary.choices.push_back(score_choices(open.choices[i], likelihoods, name));
    lines += score_lines(open.choices[i], likelihoods, name);
  }
  agree(*machine.grid.world, [&] {
    if (writes) replace_file(options.eval.scores, lines);
  });
  return summary;
}

}  // namespace shardora
