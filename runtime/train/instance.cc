#include "runtime/train/instance.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/comm/agreement.h"
#include "runtime/comm/rehearsal_communicator.h"
#include "runtime/io/files.h"
#include "runtime/observe/metrics.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

fs::path inside_checkpoint(const fs::path& path, const char* part) {
  return fs::exists(path / "manifest.json") && fs::exists(path / part) ? path / part : path;
}

}  // namespace

ModelFiles open_model_files(const RunOptions& options) {
  ModelFiles files{.folder = inside_checkpoint(options.model.path, "model")};
  files.config = read_model_config(files.folder);
  const std::string config_text = read_text(files.folder / "config.json");
  files.fingerprint = hex(checksum(std::as_bytes(std::span(config_text))));
  if (options.model.init == "load") {
    files.weights.emplace(files.folder, files.config);
    files.fingerprint += " " + files.weights->fingerprint();
  } else if (options.adapter.method != AdapterMethod::kFull) {
    refuse(ExitStatus::kUsage, "model.init = random makes a model without training: it needs adapter.method = full");
  }
  if (options.adapter.path.empty()) return files;
  if (options.adapter.method == AdapterMethod::kFull) {
    refuse(ExitStatus::kUsage, "adapter.path is set, but adapter.method = full has no adapter: leave one of them out");
  }
  files.adapter = read_peft_adapter(inside_checkpoint(options.adapter.path, "adapter"));
  for (auto& [name, tensor] : files.adapter->tensors) {
    files.adapter_fingerprint += " " + hex(checksum(tensor.bytes));
  }
  return files;
}

Instance::Instance(const RunOptions& options, const Machine& machine, const ModelFiles& files, const InstancePlan& plan)
    : options_(options),
      machine_(machine),
      full_(options.adapter.method == AdapterMethod::kFull && plan.training),
      adapted_(files.adapter || (plan.training && !full_)),
      config_(files.config) {
  const ProcessGrid& grid = machine.grid;
  agree(*grid.world, [&] {
    adapter_options_ = files.adapter ? options_of(files.adapter->config, options.adapter) : options.adapter;
    structure_ = files.adapter ? files.adapter->config : to_peft_config(options.adapter);
    structure_.base_model_name_or_path = options.model.path;
    rule_ = std::make_unique<PlacementRule>(config_, grid.tensor.size, adapter_options_);
    one_copy_ = options.model.weight_layouts == "one";
    rehearse(plan);
  });
  choose_copies(plan);
  agree(*grid.world, [&] { require_fits(memory_, memory_to_take(), ranks_that_share_it()); });
  agree(*grid.world, [&] {
    arena_ = std::make_unique<Arena>(machine.backend, plan_.peak_bytes());
    std::unique_ptr<WeightSource> source;
    if (files.weights) {
      source = std::make_unique<FolderWeights>(*files.weights);
    } else {
      source = std::make_unique<RandomWeights>(machine.backend, config_.initializer_range, options.train.seed);
    }
    parts_ = assemble(machine.backend, *grid.tensor_group, *arena_, *source, plan);
    for (const AttentionPlan& attention : decoder().attention_plans(activation_plan(plan), plan.positions)) {
      prepare_attention(machine.backend, attention);
    }
    if (files.adapter) adapter()->load(files.adapter->tensors);
  });
  if (!adapted_) return;
  if (files.adapter) {
    refresh_norms();
  } else {
    adapter()->initialise(*grid.tensor_group, *arena_);
  }
}

Instance::~Instance() = default;

// One copy on all ranks where two do not fit on one: unlike layouts would round unlike.
void Instance::choose_copies(const InstancePlan& plan) {
  if (full_ || on_device() || options_.model.weight_layouts != "auto") return;
  const std::int64_t lacks = fits(memory_, memory_to_take(), ranks_that_share_it()) ? 0 : 1;
  if (machine_.grid.world->all_reduce(lacks, Reduction::kMax) == 0) return;
  one_copy_ = true;
  agree(*machine_.grid.world, [&] { rehearse(plan); });
}

bool Instance::on_device() const { return machine_.backend.kind() == BackendKind::kCuda; }

// The CPU computes in fp32 whatever the weights are stored in; so do weights that train.
DType Instance::activation_dtype() const { return on_device() && !full_ ? stored_dtype(options_.model) : DType::kF32; }

HostMemory Instance::memory_to_take() const {
  if (!on_device()) return read_host_memory();
  return {.shared = {.free_bytes = machine_.backend.memory().free_bytes, .name = "device memory"}, .process = {}};
}

int Instance::ranks_that_share_it() const { return on_device() ? machine_.ranks_on_device : machine_.ranks_on_host; }

std::int64_t Instance::used_bytes() const {
  const DeviceMemory memory = machine_.backend.memory();
  return on_device() ? memory.total_bytes - memory.free_bytes : peak_memory_bytes();
}

std::string Instance::weights_text() const {
  if (full_) return {};
  if (on_device()) {
    return fmt::format("frozen weights, activations and products: {}",
                       stored_dtype(options_.model) == DType::kBF16 ? "bfloat16, sums in float32" : "float32");
  }
  if (stored_dtype(options_.model) == DType::kBF16) return "frozen weights: bfloat16, one copy for both directions";
  return one_copy_ ? "frozen weights: float32, one copy for both directions"
                   : "frozen weights: float32, a copy for each direction where the layouts differ";
}

ActivationPlan Instance::activation_plan(const InstancePlan& plan) const {
  return {.limits = plan.limits,
          .training = plan.training,
          .dtype = activation_dtype(),
          .recompute = options_.train.recompute,
          .cache_rows = plan.cache_rows};
}

std::unique_ptr<Instance::Parts> Instance::assemble(Backend& backend, Communicator& tensor_group, Arena& arena,
                                                    WeightSource& source, const InstancePlan& plan) const {
  auto parts = std::make_unique<Parts>();
  parts->parallel = std::make_unique<TensorParallel>(backend, tensor_group);
  parts->decoder = std::make_unique<Decoder>(backend, config_, *rule_, *parts->parallel);
  const auto lay_out = [&] {
    ParameterSet& set = parts->parameters;
    set.layout(arena, plan.training, activation_dtype());
    // The gaps between tensors as well: they take part in every sum.
    for (const TensorView flat : {set.values(), set.gradients(), set.moments1(), set.moments2()}) {
      if (flat) backend.zero(flat);
    }
  };
  if (full_) {
    parts->decoder->declare_parameters(parts->parameters);
    lay_out();
    parts->decoder->load_trainable(source, plan.positions, parts->parameters);
  } else {
    parts->decoder->load_frozen(source, plan.positions,
                                {.typical_tokens = plan.limits.tokens,
                                 .storage = stored_dtype(options_.model),
                                 .one_copy = one_copy_,
                                 .backend = machine_.backend.kind()});
  }
  if (adapted_) {
    parts->adapter = std::make_unique<Adapter>(backend, *parts->decoder, tensor_group.rank(), adapter_options_,
                                               structure_, options_.train.seed);
    parts->adapter->declare(parts->parameters);
    lay_out();
    parts->adapter->connect(parts->parameters, arena);
  }
  parts->activations = parts->decoder->take_activations(arena, activation_plan(plan));
  return parts;
}

// One step on the largest micro-batch, with operations that do nothing, counts every buffer that a real one will take.
void Instance::rehearse(const InstancePlan& plan) {
  const std::unique_ptr<Backend> backend = make_backend(BackendKind::kRehearsal, {});
  RehearsalCommunicator tensor_group(machine_.grid.tensor.rank, machine_.grid.tensor.size);
  Arena& arena = plan_ = Arena();
  NoWeights source;
  const std::unique_ptr<Parts> parts = assemble(*backend, tensor_group, arena, source, plan);
  const Activations& activations = parts->activations;
  const PassContext pass{*backend, *parts->parallel, arena, activations.storage.positions, activations.storage.places,
                         1,        plan.training};
  if (parts->adapter) parts->adapter->refresh_norms(tensor_group, arena);
  parts->decoder->forward(pass, activations.storage, activations, {.gradients = plan.training});
  if (plan.training) parts->decoder->backward(pass, activations.storage, activations);
  if (parts->adapter && plan.training) parts->adapter->finish_gradients(tensor_group, arena);
  const DeviceMemory device = machine_.backend.memory();
  memory_ = {.resident_bytes = on_device() ? device.total_bytes - device.free_bytes : resident_memory_bytes(),
             .largest_tensor_bytes = source.largest_bytes(),
             .loading_bytes = parts->decoder->weight_bytes(),
             .on_device = on_device(),
             .training = plan.training,
             .float32_frozen = !full_ && stored_dtype(options_.model) == DType::kF32};
  memory_.segments.push_back({"weights", parts->decoder->weight_bytes()});
  std::int64_t attention = 0;  // one workspace for all kinds of layers
  for (const AttentionPlan& each : parts->decoder->attention_plans(activation_plan(plan), plan.positions)) {
    attention = std::max(attention, attention_bytes(machine_.backend, each));
  }
  if (attention > 0) memory_.segments.push_back({"attention", attention});
  for (const auto& [name, bytes] : arena.segments()) {
    memory_.segments.push_back({name, bytes});
    // Under full the parameter set is laid out, and written, before values are read into it.
    if (full_ && (name == "parameters" || name == "gradients" || name == "optimizer")) memory_.loading_bytes += bytes;
  }
}

PassContext Instance::pass(const DeviceBatch& batch, std::int64_t step, bool training) {
  return {.backend = machine_.backend,
          .parallel = *parts_->parallel,
          .scratch = *arena_,
          .positions = batch.positions,
          .places = batch.places,
          .step = step,
          .training = training,
          .profile_ranges = options_.train.profile_ranges};
}

void Instance::refresh_norms() {
  if (adapter()) adapter()->refresh_norms(*machine_.grid.tensor_group, *arena_);
}

void Instance::finish_gradients() {
  if (adapter()) adapter()->finish_gradients(*machine_.grid.tensor_group, *arena_);
}

}  // namespace shardora
