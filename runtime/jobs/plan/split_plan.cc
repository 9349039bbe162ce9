#include "runtime/jobs/plan/split_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace shardora {
namespace {

PackingOptions packing_of(const RunOptions& options) {
  return {options.train.micro_batch_tokens, options.data.packing};
}

std::int64_t elements(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

// An entry of a safetensors header: its name, type, shape and place.
std::int64_t entry_bytes(const std::string& name) { return std::ssize(name) + 90; }

std::int64_t bytes_of(const std::string& dtype) { return dtype == "bfloat16" || dtype == "float16" ? 2 : 4; }

DiskPlan disk_of(const DryRun& dry_run, const ModelConfig& config) {
  DiskPlan disk;
  std::int64_t state = 0;
  for (const Parameter& parameter : dry_run.parameters.all()) {
    const std::int64_t bytes = 4 * elements(parameter.logical_shape), entry = entry_bytes(parameter.name);
    disk.adapter_bytes += bytes + entry;
    state += (parameter.kind == ParameterKind::kMagnitude ? 3 : 2) * (bytes + entry);  // moments, and m as it began
  }
  disk.checkpoint_bytes = disk.adapter_bytes + state;
  for (const NamedShape& tensor : dry_run.tensors) {
    disk.merged_bytes += bytes_of(config.dtype) * elements(tensor.shape) + entry_bytes(tensor.name);
  }
  return disk;
}

// cuDNN's backward pass in general: dq in fp32, and statistics of its own.
std::int64_t attention_workspace(const DryRun& dry_run) {
  std::int64_t most = 0;
  for (const AttentionPlan& plan : dry_run.attention) {
    if (plan.dtype != DType::kBF16) continue;
    most = std::max(most, plan.most_tokens * plan.heads * (plan.head_dim + 2) * size_bytes(DType::kF32));
  }
  return most;
}

// `largest`: tokens of the micro-batch that was run dry.
StepTraffic traffic_of(const DryRun& dry_run, const StepLoad& load, std::int64_t largest, int data_size) {
  const double share = load.tokens / static_cast<double>(largest);
  StepTraffic traffic{.tensor = dry_run.step};
  traffic.tensor += {.calls = std::llround(static_cast<double>(dry_run.micro_batch.calls) * load.micro_batches),
                     .bytes = std::llround(static_cast<double>(dry_run.micro_batch.bytes) * share)};
  const ParameterSet& parameters = dry_run.parameters;
  if (dry_run.micro_batch.calls > 0 && parameters.replicated_elements() > 0) {
    traffic.tensor_gradients = {.calls = 1, .bytes = parameters.replicated_elements() * 4};
  }
  if (data_size > 1) traffic.data = {.calls = 1, .bytes = parameters.elements() * 4};
  return traffic;
}

}  // namespace

Planner::Planner(const RunOptions& options, ModelConfig config, PlanDevice device)
    : options_(options), config_(std::move(config)), device_(std::move(device)), workload_(options, config_) {
  if (options.adapter.path.empty()) return;
  PeftAdapter adapter = read_peft_adapter(options.adapter.path);
  settle_adapter(adapter, config_, nullptr);
  adapter_ = adapter.config;
}

DryRun Planner::dry_run_whole() const {
  const ModelSpec::Rank rank{.backend = device_.gpu ? BackendKind::kCuda : BackendKind::kCpu, .tensor = {}};
  return ModelSpec(options_, config_, adapter_ ? &*adapter_ : nullptr, rank, workload_.model_use(packing_of(options_)))
      .dry_run();
}

SplitPlan Planner::evaluate(const RunOptions& options, int ranks, int tensor) const {
  SplitPlan split{.data = ranks / tensor, .tensor = tensor};
  if (options.train.global_batch < split.data) {
    split.refused = fmt::format("train.global_batch = {} is less than the data-parallel size {}",
                                options.train.global_batch, split.data);
    return split;
  }
  const ModelSpec::Rank rank{.backend = device_.gpu ? BackendKind::kCuda : BackendKind::kCpu,
                             .tensor = {.rank = 0, .size = tensor}};
  std::optional<ModelSpec> model_spec;
  try {
    PlacementRule(config_, tensor, options.adapter);
  } catch (const Error& error) {
    split.refused = error.what();
    return split;
  }
  model_spec.emplace(options, config_, adapter_ ? &*adapter_ : nullptr, rank, workload_.model_use(packing_of(options)));
  const int sharers = device_.gpu ? 1 : ranks;
  const auto run_dry = [&] {
    DryRun one = model_spec->dry_run();
    one.memory.resident_bytes = device_.resident_bytes;
    if (const std::int64_t bytes = device_.gpu ? attention_workspace(one) : 0; bytes > 0) {
      one.memory.segments.push_back({"attention", bytes});
    }
    return one;
  };
  DryRun dry_run = run_dry();
  split.one_copy = options.model.weight_layouts == "one";
  if (!fits(dry_run.memory, device_.memory, sharers) && model_spec->may_keep_two_copies()) {
    model_spec->keep_one_copy();
    split.one_copy = true;
    dry_run = run_dry();
  }
  split.memory = dry_run.memory;
  try {
    require_fits(split.memory, device_.memory, sharers);
  } catch (const Error& error) {
    split.lacks = error.what();
  }
  split.disk = disk_of(dry_run, config_);
  add_time(options, dry_run, split);
  return split;
}

void Planner::add_time(const RunOptions& options, const DryRun& dry_run, SplitPlan& split) const {
  const PackingOptions packing = packing_of(options);
  const StepLoad load = workload_.load(split.data, packing);
  const bool bf16 = device_.gpu && !dry_run.sizes.full && options.model.dtype == "bfloat16";
  const StepCost cost = step_cost(dry_run.sizes,
                                  {.recompute = options.train.recompute,
                                   .magnitudes = options.adapter.method == AdapterMethod::kDora,
                                   .element_bytes = bf16 ? 2 : 4,
                                   .head_rows = dry_run.chunk_rows,
                                   .trained_elements = dry_run.parameters.elements()},
                                  load);
  split.micro_batches = load.micro_batches;
  split.traffic = traffic_of(dry_run, load, workload_.model_use(packing).limits.tokens, split.data);
  split.time = step_time(cost, split.traffic, split.tensor, split.data, *device_.speeds);
  split.tokens_per_second = workload_.tokens_per_step() / split.time.total();
}

}  // namespace shardora
