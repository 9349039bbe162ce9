// The decoder's structure, and where its weights come from.
#include <fmt/format.h>

#include <numeric>

#include "runtime/model/decoder.h"
#include "runtime/model/rope_table.h"

namespace shardora {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kFinalNorm = "model.norm.weight";

std::string layer_name(std::int64_t layer, std::string_view module) {
  return fmt::format("model.layers.{}.{}", layer, module);
}

void set_linear(DoraLinear& linear, std::string name, Range in, Range out) {
  linear.kind = PlacementRule::kind(name);
  linear.name = std::move(name);
  linear.in_range = in, linear.out_range = out;
  linear.in_features = in.size, linear.out_features = out.size;
}

}  // namespace

Decoder::Decoder(Backend& backend, const ModelConfig& config, const PlacementRule& rule, const TensorParallel& parallel)
    : backend_(backend),
      config_(config),
      rule_(rule),
      parallel_(parallel),
      tensors_(expected_tensors(config)),
      vocabulary_(even_range(config.vocab_size, parallel.rank(), parallel.size())),
      blocks_(static_cast<std::size_t>(config.num_hidden_layers)) {
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    build_block(blocks_[layer], static_cast<std::int64_t>(layer));
  }
}

void Decoder::build_block(Block& block, std::int64_t layer) {
  const auto name = [&](const char* module) { return layer_name(layer, module); };
  const auto out_of = [&](const std::string& module) {
    const NamedShape& tensor = shape_of(module + ".weight");
    return rule_.of(tensor.name, tensor.shape, parallel_.rank()).used;
  };
  const Range hidden{0, config_.hidden_size};
  const auto column = [&](DoraLinear& linear, const char* module) {
    set_linear(linear, name(module), hidden, out_of(name(module)));
  };
  const auto row = [&](DoraLinear& linear, const char* module) {  // what is cut of a row-parallel weight is its input
    set_linear(linear, name(module), out_of(name(module)), hidden);
  };
  column(block.q, "self_attn.q_proj");
  column(block.k, "self_attn.k_proj");
  column(block.v, "self_attn.v_proj");
  row(block.o, "self_attn.o_proj");
  column(block.gate, "mlp.gate_proj");
  column(block.up, "mlp.up_proj");
  row(block.down, "mlp.down_proj");
  block.number = layer;
  block.hidden_size = config_.hidden_size;
  block.heads = rule_.query_heads(parallel_.rank()).size;
  block.kv_heads = rule_.kv_heads(parallel_.rank()).size;
  block.head_dim = config_.head_dim;
  block.epsilon = static_cast<float>(config_.rms_norm_eps);
  const std::int64_t window = config_.sliding_windows.at(static_cast<std::size_t>(layer));
  block.mask = {.kind = window > 0 ? MaskKind::kWindow : MaskKind::kCausal, .window = window};
}

const NamedShape& Decoder::shape_of(const std::string& name) const {
  for (const NamedShape& tensor : tensors_) {
    if (tensor.name == name) return tensor;
  }
  refuse(ExitStatus::kInternal, "{}: the model has no such tensor", name);
}

std::vector<DoraLinear*> Decoder::linears() {
  std::vector<DoraLinear*> all;
  for (Block& block : blocks_) {
    for (DoraLinear* linear : block.linears()) all.push_back(linear);
  }
  return all;
}

std::int64_t Decoder::weight_bytes() const {
  std::int64_t total = embedding_ ? embedding_->bytes() : 0;
  if (head_) total += head_->bytes();
  for (const DeviceBuffer& buffer : buffers_) total += buffer.bytes();
  for (const Block& block : blocks_) {
    for (const DoraLinear* linear : {&block.q, &block.k, &block.v, &block.o, &block.gate, &block.up, &block.down}) {
      if (linear->weight) total += linear->weight->bytes();
    }
  }
  return total;
}

// Calls visit(name, view, gradient view, range of its values that this rank uses) for every norm weight and bias.
template <class Visit>
void Decoder::for_each_vector(const Visit& visit) {
  const auto norm = [&](const std::string& name, NormWeight& weight, std::int64_t width) {
    visit(name, weight.weight, weight.dweight, Range{0, width});
  };
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    const auto layer = static_cast<std::int64_t>(i);
    norm(layer_name(layer, "input_layernorm.weight"), block.input_norm, config_.hidden_size);
    norm(layer_name(layer, "post_attention_layernorm.weight"), block.post_norm, config_.hidden_size);
    if (config_.query_key_norm) {
      norm(layer_name(layer, "self_attn.q_norm.weight"), block.q_norm, config_.head_dim);
      norm(layer_name(layer, "self_attn.k_norm.weight"), block.k_norm, config_.head_dim);
    }
    const auto bias = [&](DoraLinear& linear, bool present) {
      if (present) visit(linear.name + ".bias", linear.bias, linear.dbias, linear.out_range);
    };
    for (DoraLinear* linear : {&block.q, &block.k, &block.v}) bias(*linear, config_.attention_bias);
    bias(block.o, config_.attention_output_bias);
    for (DoraLinear* linear : {&block.gate, &block.up, &block.down}) bias(*linear, config_.mlp_bias);
  }
  norm(kFinalNorm, final_norm_, config_.hidden_size);
}

std::vector<Decoder::FrozenBytes> Decoder::frozen_bytes() {
  if (trainable_embedding_ != nullptr) return {};
  std::vector<FrozenBytes> all;
  const auto add_matrix = [&](const std::string& name, const WeightMatrix& matrix) {
    for (const TensorView& copy : matrix.stored()) all.push_back({name, copy});
  };
  add_matrix(kEmbedding, *embedding_);
  if (head_) add_matrix(kHead, *head_);
  for (const DoraLinear* linear : linears()) add_matrix(linear->name + ".weight", *linear->weight);
  for_each_vector([&](const std::string& name, TensorView& view, TensorView&, Range) { all.push_back({name, view}); });
  all.push_back({"the cosines of rotary positions", cosines_});
  all.push_back({"the sines of rotary positions", sines_});
  return all;
}

TensorView Decoder::device_vector(WeightSource& source, const std::string& name, Range range) {
  const NamedShape& tensor = shape_of(name);
  HostTensor host = range.size == tensor.shape[0] ? source.read(tensor, -1, range) : source.read(tensor, 0, range);
  buffers_.emplace_back(backend_, range.size * static_cast<std::int64_t>(sizeof(float)));
  const TensorView device{buffers_.back().data(), DType::kF32, {range.size}};
  copy_as_float32(backend_, host, device);
  return device;
}

void Decoder::load_tables(std::int64_t positions) {
  const bool dry_run = backend_.kind() == BackendKind::kDryRun;
  const RopeTable table = make_rope_table(config_, dry_run ? 0 : positions);
  const Shape shape{positions, config_.head_dim / 2};
  const auto to_device = [&](const std::vector<float>& values) {
    buffers_.emplace_back(backend_, shape.elements() * static_cast<std::int64_t>(sizeof(float)));
    const TensorView device{buffers_.back().data(), DType::kF32, shape};
    if (!dry_run) backend_.copy_from_host(device, view_of(std::span(values), shape));
    backend_.synchronize();
    return device;
  };
  cosines_ = to_device(table.cosines);
  sines_ = to_device(table.sines);
}

void Decoder::load_frozen(WeightSource& source, std::int64_t positions, const FrozenMatrixPlan& like) {
  load_tables(positions);
  const auto matrix = [&](const std::string& name, int axis, Range range, FrozenMatrixPlan plan) {
    const NamedShape& tensor = shape_of(name);
    plan.out_features = axis == 0 ? range.size : tensor.shape[0];
    plan.in_features = axis == 1 ? range.size : tensor.shape[1];
    plan.typical_tokens = like.typical_tokens, plan.storage = like.storage, plan.one_copy = like.one_copy;
    return make_frozen_matrix(backend_, plan, source.rows(tensor, axis, range));
  };
  const bool tied = config_.tie_word_embeddings;
  embedding_ = matrix(kEmbedding, 0, vocabulary_, {.for_forward = tied, .for_backward = tied, .for_gather = true});
  if (!tied) head_ = matrix(kHead, 0, vocabulary_, {});
  for (DoraLinear* linear : linears()) {
    const bool column = linear->kind == LinearKind::kColumn;
    linear->weight =
        matrix(linear->name + ".weight", column ? 0 : 1, column ? linear->out_range : linear->in_range, {});
  }
  for_each_vector([&](const std::string& name, TensorView& view, TensorView&, Range range) {
    view = device_vector(source, name, range);
  });
}

void Decoder::declare_parameters(ParameterSet& parameters) {
  for (const NamedShape& tensor : tensors_) {
    parameters.declare(rule_, parallel_.rank(), tensor.name, tensor.shape, ParameterKind::kWeight);
  }
}

void Decoder::load_trainable(WeightSource& source, std::int64_t positions, ParameterSet& parameters) {
  load_tables(positions);
  const auto index_of = [&](const std::string& name) {
    return static_cast<std::size_t>(&shape_of(name) - tensors_.data());  // declared in this order, first in the set
  };
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Placement& placement = parameters.all()[i].placement;
    HostTensor host = source.read(tensors_[i], placement.axis, placement.stored);
    copy_as_float32(backend_, host, parameters.value(i));
  }
  // Where KV heads are shared a rank stores all rows of k and v and works with its own.
  const auto used = [&](TensorView stored, const Range& range) {
    return stored.size(0) == range.size ? stored : stored.rows(range.begin, range.size);
  };
  const auto matrix = [&](const std::string& name, Range out) {
    const std::size_t i = index_of(name);
    return std::make_unique<TrainableMatrix>(backend_, used(parameters.value(i), out),
                                             used(parameters.gradient(i), out));
  };
  auto embedding = matrix(kEmbedding, vocabulary_);
  trainable_embedding_ = embedding.get();
  embedding_ = std::move(embedding);
  if (!config_.tie_word_embeddings) {
    auto head = matrix(kHead, vocabulary_);
    trainable_head_ = head.get();
    head_ = std::move(head);
  }
  for (DoraLinear* linear : linears()) {
    auto weight = matrix(linear->name + ".weight", linear->out_range);
    linear->trainable = weight.get();
    linear->weight = std::move(weight);
  }
  for_each_vector([&](const std::string& name, TensorView& view, TensorView& gradient, Range range) {
    const std::size_t i = index_of(name);
    view = used(parameters.value(i), range);
    gradient = used(parameters.gradient(i), range);
  });
}

}  // namespace shardora
