#include "runtime/session/model_spec.h"

#include <map>

namespace shardora {

ModelSizes model_sizes(Decoder& decoder, const Adapter* adapter) {
  ModelSizes sizes = sizes_of(decoder.config());
  const std::vector<DoraLinear*> linears = decoder.linears();
  sizes.full = linears.front()->trainable != nullptr;
  if (adapter != nullptr) {
    sizes.lowest_trained_layer = decoder.lowest_trained_layer();
    std::map<const DoraLinear*, std::int64_t> ranks;
    for (const AdaptedModule& module : adapter->modules()) ranks[module.linear] = module.rank;
    for (std::size_t i = 0; i < linears.size(); ++i) sizes.linears[i].adapter_rank = ranks[linears[i]];
  }
  return sizes;
}

ModelSizes shard_sizes(Decoder& decoder, const Adapter* adapter) {
  ModelSizes sizes = model_sizes(decoder, adapter);
  const std::vector<DoraLinear*> linears = decoder.linears();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    sizes.linears[i].out_features = linears[i]->out_features;
    sizes.linears[i].in_features = linears[i]->in_features;
  }
  sizes.heads = linears[0]->out_features / sizes.head_dim;
  sizes.kv_heads = linears[1]->out_features / sizes.head_dim;
  sizes.intermediate = linears.back()->in_features;
  sizes.vocabulary = decoder.vocabulary().size;
  return sizes;
}

ModelSpec::ModelSpec(const RunOptions& options, const ModelConfig& config, const PeftConfig* existing, const Rank& rank,
                     const ModelUse& plan)
    : options_(options),
      config_(config),
      rank_(rank),
      plan_(plan),
      full_(options.adapter.method == AdapterMethod::kFull && plan.training),
      adapted_(existing != nullptr || (plan.training && !full_)),
      one_copy_(options.model.weight_layouts == "one"),
      adapter_options_(existing != nullptr ? options_of(*existing, options.adapter) : options.adapter),
      structure_(existing != nullptr ? *existing : to_peft_config(options.adapter)),
      rule_(config, rank.tensor.size, adapter_options_) {
  structure_.base_model_name_or_path = options.model.path;
}

bool ModelSpec::may_keep_two_copies() const {
  return !full_ && !on_device() && options_.model.weight_layouts == "auto" && !one_copy_;
}

// The CPU computes in fp32 whatever the weights are stored in; so do weights that train.
DType ModelSpec::activation_dtype() const { return on_device() && !full_ ? stored_dtype(options_.model) : DType::kF32; }

std::string ModelSpec::weights_text() const {
  if (full_) return {};
  if (on_device()) {
    return stored_dtype(options_.model) == DType::kBF16 ? "bfloat16, as activations and products; sums in float32"
                                                        : "float32, as activations and products";
  }
  if (stored_dtype(options_.model) == DType::kBF16) return "bfloat16, one copy for both directions";
  return one_copy_ ? "float32, one copy for both directions"
                   : "float32, a copy for each direction where the layouts differ";
}

ActivationPlan ModelSpec::activation_plan() const {
  return {.limits = plan_.limits,
          .training = plan_.training,
          .row_scores = plan_.row_scores,
          .dtype = activation_dtype(),
          .recompute = options_.train.recompute,
          .cache_rows = plan_.cache_rows};
}

std::unique_ptr<BuiltModel> ModelSpec::assemble(Backend& backend, Communicator& tensor_group, Arena& arena,
                                                WeightSource& source) const {
  auto parts = std::make_unique<BuiltModel>();
  parts->parallel = std::make_unique<TensorParallel>(backend, tensor_group);
  parts->decoder = std::make_unique<Decoder>(backend, config_, rule_, *parts->parallel);
  const auto lay_out = [&] {
    ParameterSet& set = parts->parameters;
    set.layout(arena, plan_.training, activation_dtype());
    // The gaps between tensors as well: they take part in every sum.
    for (const TensorView flat : {set.values(), set.gradients(), set.moments1(), set.moments2()}) {
      if (flat) backend.zero(flat);
    }
  };
  if (full_) {
    parts->decoder->declare_parameters(parts->parameters);
    lay_out();
    parts->decoder->load_trainable(source, plan_.positions, parts->parameters);
  } else {
    parts->decoder->load_frozen(source, plan_.positions,
                                {.typical_tokens = plan_.limits.tokens,
                                 .storage = stored_dtype(options_.model),
                                 .one_copy = one_copy_,
                                 .backend = rank_.backend});
  }
  if (adapted_) {
    parts->adapter = std::make_unique<Adapter>(backend, *parts->decoder, tensor_group.rank(), adapter_options_,
                                               structure_, options_.train.seed);
    parts->adapter->declare(parts->parameters);
    lay_out();
    parts->adapter->connect(parts->parameters, arena);
  }
  parts->activations = parts->decoder->take_activations(arena, activation_plan());
  return parts;
}

DryRun ModelSpec::dry_run() const {
  const std::unique_ptr<Backend> backend = make_backend(BackendKind::kDryRun, {});
  DryRunCommunicator tensor_group(rank_.tensor.rank, rank_.tensor.size);
  DryRun dry_run;
  Arena& arena = dry_run.arena;
  NoWeights source;
  const std::unique_ptr<BuiltModel> parts = assemble(*backend, tensor_group, arena, source);
  const Activations& activations = parts->activations;
  const Pass pass{*backend, *parts->parallel, arena, activations.storage, 1, plan_.training};
  if (parts->adapter) parts->adapter->refresh_norms(tensor_group, arena);
  dry_run.step = tensor_group.take_traffic();
  parts->decoder->forward(pass, activations, {.gradients = plan_.training});
  if (plan_.training) parts->decoder->backward(pass, activations);
  dry_run.micro_batch = tensor_group.take_traffic();
  if (parts->adapter && plan_.training) parts->adapter->finish_gradients(tensor_group, arena);
  dry_run.step += tensor_group.take_traffic();
  MemoryPlan& memory = dry_run.memory;
  memory = {.largest_tensor_bytes = source.largest_bytes(),
            .loading_bytes = parts->decoder->weight_bytes(),
            .on_device = on_device(),
            .training = plan_.training,
            .float32_frozen = !full_ && stored_dtype(options_.model) == DType::kF32};
  memory.segments.push_back({"weights", parts->decoder->weight_bytes()});
  for (const auto& [name, bytes] : arena.segments()) {
    memory.segments.push_back({name, bytes});
    // Under full the parameter set is laid out, and written, before values are read into it.
    if (full_ && (name == "parameters" || name == "gradients" || name == "optimizer")) memory.loading_bytes += bytes;
  }
  dry_run.sizes = shard_sizes(*parts->decoder, parts->adapter.get());
  dry_run.chunk_rows = parts->decoder->chunk_rows();
  dry_run.tensors = parts->decoder->tensors();
  dry_run.attention = parts->decoder->attention_plans(activation_plan(), plan_.positions);
  dry_run.parameters = parts->parameters;
  return dry_run;
}

}  // namespace shardora
