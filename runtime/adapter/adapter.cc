// Which modules train, and how they are connected to the layers. Norms: norms.cc; exact gradient: exact_gradient.cc.
#include "runtime/adapter/adapter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/dora.h"

namespace shardora {
namespace {

double scale_of(double alpha, std::int64_t rank, bool rslora) {
  return alpha / (rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank));
}

}  // namespace

Adapter::Adapter(Backend& backend, Decoder& decoder, int tensor_rank, const AdapterOptions& options,
                 const PeftConfig& structure, std::uint64_t seed)
    : backend_(backend),
      tensor_rank_(tensor_rank),
      options_(options),
      seed_(seed),
      rule_(decoder.rule()),
      logical_tensors_(decoder.tensors()) {
  std::map<std::string, DoraLinear*> by_name;
  std::vector<std::string> names;
  for (DoraLinear* linear : decoder.linears()) {
    by_name[linear->name] = linear;
    names.push_back(linear->name);
  }
  for (const TargetModule& target : select_targets(structure, names)) {
    modules_.push_back({.linear = by_name.at(target.name),
                        .layer = layer_of(target.name),
                        .rank = target.rank,
                        .alpha = target.alpha});
  }
}

void Adapter::declare(ParameterSet& parameters) {
  for (AdaptedModule& module : modules_) {
    const DoraLinear& linear = *module.linear;
    const auto weight = std::find_if(logical_tensors_.begin(), logical_tensors_.end(),
                                     [name = linear.name + ".weight"](const NamedShape& t) { return t.name == name; });
    SHARDORA_CHECK(weight != logical_tensors_.end());
    const std::int64_t out = weight->shape[0], in = weight->shape[1];
    module.a = parameters.declare(rule_, tensor_rank_, linear.name + ".lora_A", {module.rank, in}, ParameterKind::kA);
    module.b = parameters.declare(rule_, tensor_rank_, linear.name + ".lora_B", {out, module.rank}, ParameterKind::kB);
    if (!has_magnitude()) continue;
    const std::int64_t width = options_.magnitude_axis == MagnitudeAxis::kOutput ? out : in;
    module.m = parameters.declare(rule_, tensor_rank_, linear.name + ".lora_magnitude_vector", {width},
                                  ParameterKind::kMagnitude);
    connect_placement(module, parameters.all()[module.m].placement, parameters.all()[module.b].placement);
  }
}

// How the norm of a module is put together over the tensor group.
void Adapter::connect_placement(AdaptedModule& module, const Placement& m, const Placement& b) const {
  module.used = {m.used.begin - m.stored.begin, m.used.size};
  module.owner = b.owner;
  module.partial_h = m.part == GradientPart::kPartial;
  const bool column = module.linear->kind == LinearKind::kColumn;
  const bool output = options_.magnitude_axis == MagnitudeAxis::kOutput;
  module.reduced = column != output || m.axis < 0;
}

void Adapter::connect(ParameterSet& parameters, Arena& arena) {
  parameters_ = &parameters;
  if (has_magnitude()) take_norms(arena);
  for (AdaptedModule& module : modules_) bind_views(module);
}

// Flat buffers, the modules whose norms are summed first: [squared | reference] of those, then of the others.
void Adapter::take_norms(Arena& arena) {
  std::int64_t summed = 0, local = 0;
  for (const AdaptedModule& module : modules_) {
    (module.reduced ? summed : local) += parameters_->value(module.m).elements();
  }
  squares_ = arena.take("norms", DType::kF32, {2 * (summed + local)});
  reduced_squares_ = squares_.rows(0, 2 * summed);
  std::int64_t summed_at = 0, local_at = 2 * summed;
  for (AdaptedModule& module : modules_) {
    const std::int64_t width = parameters_->value(module.m).elements();
    std::int64_t& at = module.reduced ? summed_at : local_at;
    module.squared = squares_.rows(at, width);
    module.reference = squares_.rows(at + (module.reduced ? summed : local), width);
    at += width;
    module.norm = arena.take("norms", DType::kF32, {width});
    module.gain = arena.take("norms", DType::kF32, {width});
    module.squared_weight = arena.take("norms", DType::kF32, {module.used.size});
  }
}

void Adapter::bind_views(AdaptedModule& module) {
  DoraLinear& linear = *module.linear;
  // Where KV heads are shared, B and m are stored whole and this rank works with its own head's rows.
  const auto used = [](TensorView stored, const Range& range) {
    return stored ? stored.rows(range.begin, range.size) : stored;  // no gradients where nothing trains
  };
  const Placement& b = parameters_->all()[module.b].placement;
  const Range b_rows{b.used.begin - b.stored.begin, b.used.size};
  module.factor_a = parameters_->value(module.a);
  module.factor_b = used(parameters_->value(module.b), b_rows);
  module.view = {.a = parameters_->compute_value(module.a),
                 .da = parameters_->gradient(module.a),
                 .b = used(parameters_->compute_value(module.b), b_rows),
                 .db = used(parameters_->gradient(module.b), b_rows),
                 .scale = static_cast<float>(scale_of(module.alpha, module.rank, options_.rslora)),
                 .axis = options_.magnitude_axis,
                 .dropout = static_cast<float>(options_.dropout),
                 .dropout_scope = options_.dropout_scope,
                 .dropout_key = random_key(seed_, "dropout", linear.name),
                 .first_feature = linear.in_range.begin};
  if (has_magnitude()) {
    module.view.gain = used(module.gain, module.used);
    module.view.h = used(h_of(module), module.used);
    module.view.version = &version_;
  }
  linear.adapter = &module.view;
}

void Adapter::initialise(Communicator& tensor_group, Arena& scratch) {
  for (const AdaptedModule& module : modules_) {
    const TensorView a = parameters_->value(module.a);
    const std::int64_t logical_in = parameters_->all()[module.a].logical_shape[1];
    const float bound = 1.0F / std::sqrt(static_cast<float>(logical_in));  // Kaiming uniform with a = sqrt(5)
    fill_uniform(backend_, {.key = random_key(seed_, "adapter.A", module.linear->name),
                            .out = a,
                            .first_row = 0,
                            .first_column = module.linear->in_range.begin,
                            .logical_columns = logical_in,
                            .low = -bound,
                            .high = bound});
    backend_.zero(parameters_->value(module.b));
  }
  parameters_changed();
  refresh_norms(tensor_group, scratch);
  if (!has_magnitude()) return;
  for (const AdaptedModule& module : modules_) {
    // By the same code as every later norm, so that the gain is exactly 1.
    initial_magnitude(backend_, {.norm = module.norm, .magnitude = parameters_->value(module.m)});
  }
  refresh_norms(tensor_group, scratch);
}

void Adapter::load(const TensorMap& tensors) {
  const std::size_t expected = modules_.size() * (has_magnitude() ? 3 : 2);
  if (tensors.size() != expected) {
    refuse(ExitStatus::kBadInput, "adapter: {} tensors, its configuration on this model needs {}", tensors.size(),
           expected);
  }
  for (const AdaptedModule& module : modules_) {
    std::vector<std::size_t> indices = {module.a, module.b};
    if (has_magnitude()) indices.push_back(module.m);
    for (const std::size_t index : indices) {
      const Parameter& parameter = parameters_->all()[index];
      const auto found = tensors.find(parameter.name);
      if (found == tensors.end()) {
        refuse(ExitStatus::kBadInput, "adapter: tensor {} is missing", parameter.name);
      }
      HostTensor tensor = found->second;
      if (tensor.shape != parameter.logical_shape) {
        refuse(ExitStatus::kBadInput, "adapter: tensor {} has shape {}, this model needs {}", parameter.name,
               to_string(Shape(tensor.shape)), to_string(Shape(parameter.logical_shape)));
      }
      scatter_logical(backend_, parameter, tensor.f32(), parameters_->value(index));
    }
  }
  parameters_changed();
}

}  // namespace shardora
