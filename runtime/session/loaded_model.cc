#include "runtime/session/loaded_model.h"

#include <algorithm>

#include "runtime/comm/agreement.h"
#include "runtime/system/files.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

fs::path inside_checkpoint(const fs::path& path, const char* part) {
  return fs::exists(path / "manifest.json") && fs::exists(path / part) ? path / part : path;
}

ModelFiles open_model(const RunOptions& options) {
  ModelFiles files{.folder = inside_checkpoint(options.model.path, "model")};
  files.config = read_model_config(files.folder);
  if (options.model.init == "load") {
    files.weights.emplace(files.folder, files.config);
  } else if (options.adapter.method != AdapterMethod::kFull) {
    refuse(ExitStatus::kUsage, "model.init = random makes a model without training: it needs adapter.method = full");
  }
  if (!options.adapter.path.empty() && options.adapter.method == AdapterMethod::kFull) {
    refuse(ExitStatus::kUsage, "adapter.path is set, but adapter.method = full has no adapter: leave one of them out");
  }
  return files;
}

}  // namespace

// Each rank compares its share of what is stored twice.
ModelFiles open_model_files(const RunOptions& options, const Context& context) {
  Communicator& world = *context.grid.world;
  ModelFiles files;
  std::int64_t another_head = 0;
  agree(world, [&] {
    files = open_model(options);
    another_head = files.weights && files.weights->has_another_head(world.rank(), world.size()) ? 1 : 0;
  });
  another_head = world.all_reduce(another_head, Reduction::kMax);
  agree(world, [&] {
    if (another_head > 0) context.log.warn(use_stored_head(files.folder, files.config, files.weights));
    const std::string config_text = read_text(files.folder / "config.json");
    files.fingerprint = hex(checksum(std::as_bytes(std::span(config_text))));
    if (files.weights) files.fingerprint += " " + files.weights->fingerprint();
    if (options.adapter.path.empty()) return;
    files.adapter = read_peft_adapter(inside_checkpoint(options.adapter.path, "adapter"));
    const ModelWeights* const base = files.weights ? &*files.weights : nullptr;
    for (const std::string& line : settle_adapter(*files.adapter, files.config, base, world.rank(), world.size())) {
      context.log.warn(line);
    }
    for (auto& [name, tensor] : files.adapter->tensors) {
      files.adapter_fingerprint += " " + hex(checksum(tensor.bytes));
    }
  });
  return files;
}

LoadedModel::LoadedModel(const RunOptions& options, const Context& context, const ModelFiles& files,
                         const ModelUse& plan)
    : context_(context), profile_ranges_(options.train.profile_ranges) {
  const ProcessGrid& grid = context.grid;
  agree(*grid.world, [&] {
    const PeftConfig* const existing = files.adapter ? &files.adapter->config : nullptr;
    const ModelSpec::Rank rank{.backend = context.backend.kind(), .tensor = grid.tensor};
    spec_ = std::make_unique<ModelSpec>(options, files.config, existing, rank, plan);
    dry_run();
  });
  choose_copies();
  agree(*grid.world, [&] { require_fits(memory_, memory_to_take(), ranks_that_share_it()); });
  agree(*grid.world, [&] {
    arena_ = std::make_unique<Arena>(context.backend, plan_.peak_bytes());
    std::unique_ptr<WeightSource> source;
    if (files.weights) {
      source = std::make_unique<FolderWeights>(*files.weights);
    } else {
      source = std::make_unique<RandomWeights>(context.backend, files.config.initializer_range, options.train.seed);
    }
    StoppableWeights weights(*source, context.stop_requested);
    parts_ = spec_->assemble(context.backend, *grid.tensor_group, *arena_, weights);
    for (const AttentionPlan& attention : attention_) prepare_attention(context.backend, attention);
    if (files.adapter) adapter()->load(files.adapter->tensors);
  });
  if (!spec_->adapted()) return;
  if (files.adapter) {
    refresh_norms();
  } else {
    adapter()->initialise(*grid.tensor_group, *arena_);
  }
}

LoadedModel::~LoadedModel() = default;

// One copy on all ranks where two do not fit on one: unlike layouts would round unlike.
void LoadedModel::choose_copies() {
  if (!spec_->may_keep_two_copies()) return;
  const std::int64_t lacks = fits(memory_, memory_to_take(), ranks_that_share_it()) ? 0 : 1;
  if (context_.grid.world->all_reduce(lacks, Reduction::kMax) == 0) return;
  spec_->keep_one_copy();
  agree(*context_.grid.world, [&] { dry_run(); });
}

HostMemory LoadedModel::memory_to_take() const {
  if (!on_device()) return read_host_memory();
  return {.shared = {.free_bytes = context_.backend.memory().free_bytes, .name = "device memory"}, .process = {}};
}

int LoadedModel::ranks_that_share_it() const { return on_device() ? context_.ranks_on_device : context_.ranks_on_host; }

std::int64_t LoadedModel::used_bytes() const {
  const DeviceMemory memory = context_.backend.memory();
  return on_device() ? memory.total_bytes - memory.free_bytes : peak_memory_bytes();
}

void LoadedModel::dry_run() {
  DryRun dry_run = spec_->dry_run();
  const DeviceMemory device = context_.backend.memory();
  std::int64_t workspace = 0;  // one for all kinds of layers
  for (const AttentionPlan& each : dry_run.attention) {
    workspace = std::max(workspace, attention_bytes(context_.backend, each));
  }
  plan_ = std::move(dry_run.arena);
  memory_ = std::move(dry_run.memory);
  attention_ = std::move(dry_run.attention);
  memory_.resident_bytes = on_device() ? device.total_bytes - device.free_bytes : resident_memory_bytes();
  if (workspace > 0) memory_.segments.push_back({"attention", workspace});
}

Pass LoadedModel::pass(const DeviceBatch& batch, std::int64_t step, bool training) {
  return {.backend = context_.backend,
          .parallel = *parts_->parallel,
          .scratch = *arena_,
          .batch = batch,
          .step = step,
          .training = training,
          .profile_ranges = profile_ranges_};
}

void LoadedModel::refresh_norms() {
  if (adapter()) adapter()->refresh_norms(*context_.grid.tensor_group, *arena_);
}

void LoadedModel::finish_gradients() {
  if (adapter()) adapter()->finish_gradients(*context_.grid.tensor_group, *arena_);
}

}  // namespace shardora
