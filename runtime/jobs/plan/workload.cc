#include "runtime/jobs/plan/workload.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/session/evaluate.h"

namespace shardora {
namespace {

constexpr std::int64_t kSampledSteps = 4;

std::vector<const Dataset*> views_of(const std::vector<Dataset>& datasets) {
  std::vector<const Dataset*> views(datasets.size());
  std::transform(datasets.begin(), datasets.end(), views.begin(), [](const Dataset& set) { return &set; });
  return views;
}

// The heaviest rank's, of one step.
std::vector<Batch> heaviest(const std::vector<SequenceRef>& step, std::span<const Dataset* const> datasets,
                            int data_size, const PackingOptions& packing) {
  std::vector<Batch> most;
  std::int64_t most_tokens = -1;
  for (int rank = 0; rank < data_size; ++rank) {
    std::vector<Batch> batches = micro_batches(step, datasets, rank, data_size, packing);
    const std::int64_t tokens = std::accumulate(batches.begin(), batches.end(), std::int64_t{0},
                                                [](std::int64_t sum, const Batch& b) { return sum + b.size(); });
    if (tokens > most_tokens) most = std::move(batches), most_tokens = tokens;
  }
  return most;
}

}  // namespace

Workload::Workload(const RunOptions& options, const ModelConfig& config) : global_batch_(options.train.global_batch) {
  options.data.train.empty() ? take_length(options, config) : take_datasets(options, config);
}

void Workload::take_datasets(const RunOptions& options, const ModelConfig& config) {
  for (const DataSource& source : options.data.train) datasets_.push_back(open_dataset(source, config, options.data));
  std::vector<Sampler::Source> sources;
  for (std::size_t i = 0; i < datasets_.size(); ++i) {
    sources.push_back({.dataset = &datasets_[i], .share = options.data.train[i].share});
    longest_ = std::max(longest_, datasets_[i].longest());
  }
  for (const DataSource& source : options.data.eval) eval_sets_.push_back(open_dataset(source, config, options.data));
  Sampler sampler(sources, global_batch_, options.data.shuffle, options.train.seed);
  const double epochs = options.train.epochs > 0 ? options.train.epochs : 1;
  steps_ = static_cast<double>(options.train.steps > 0 ? options.train.steps : sampler.end_after(epochs));
  for (std::int64_t step = 1; step <= std::min(kSampledSteps, static_cast<std::int64_t>(steps_)); ++step) {
    const StepPlan plan = sampler.plan(step);
    sampled_.push_back(plan.sequences);
    tokens_per_step_ += static_cast<double>(plan.token_count);
  }
  tokens_per_step_ /= static_cast<double>(sampled_.size());
}

void Workload::take_length(const RunOptions& options, const ModelConfig& config) {
  const std::int64_t limit = config.max_position_embeddings, asked = options.data.sequence_length;
  if (asked > limit) {
    refuse(ExitStatus::kUsage, "data.sequence_length = {} is more than this model's {} positions", asked, limit);
  }
  longest_ = asked > 0 ? asked : std::min(limit, options.train.micro_batch_tokens);
  tokens_per_step_ = static_cast<double>(global_batch_ * longest_);
  const double epochs = options.train.epochs > 0 ? options.train.epochs : 1;
  steps_ = options.train.steps > 0 ? static_cast<double>(options.train.steps)
                                   : std::ceil(epochs * static_cast<double>(options.plan.tokens) / tokens_per_step_);
}

ModelUse Workload::model_use(const PackingOptions& packing) const {
  if (datasets_.empty()) {
    return {.limits = batch_limits({.longest = longest_, .shortest = longest_}, global_batch_, packing),
            .positions = longest_,
            .training = true};
  }
  return training_plan(views_of(datasets_), views_of(eval_sets_), global_batch_, packing);
}

StepLoad Workload::load_of_one_length(int data_size, const PackingOptions& packing) const {
  const std::int64_t sequences = (global_batch_ + data_size - 1) / data_size;
  const std::int64_t in_one = packing.packing ? std::max<std::int64_t>(1, packing.micro_batch_tokens / longest_) : 1;
  const std::int64_t micro_batches = (sequences + in_one - 1) / in_one;
  return {.micro_batches = static_cast<double>(micro_batches),
          .tokens = static_cast<double>(sequences * longest_),
          .targets = static_cast<double>(sequences * (longest_ - 1)),
          .lengths = std::vector<std::int64_t>(static_cast<std::size_t>(sequences), longest_)};
}

StepLoad Workload::load(int data_size, const PackingOptions& packing) const {
  SHARDORA_CHECK(data_size >= 1 && data_size <= global_batch_);
  if (datasets_.empty()) return load_of_one_length(data_size, packing);
  StepLoad load;
  load.steps = static_cast<double>(sampled_.size());
  const std::vector<const Dataset*> views = views_of(datasets_);
  for (const std::vector<SequenceRef>& step : sampled_) {
    for (const Batch& batch : heaviest(step, views, data_size, packing)) {
      load.micro_batches += 1 / load.steps;
      load.tokens += static_cast<double>(batch.size()) / load.steps;
      load.targets += static_cast<double>(batch.target_rows.size()) / load.steps;
      for (std::size_t k = 0; k + 1 < batch.offsets.size(); ++k) {
        load.lengths.push_back(batch.offsets[k + 1] - batch.offsets[k]);
      }
    }
  }
  return load;
}

}  // namespace shardora
