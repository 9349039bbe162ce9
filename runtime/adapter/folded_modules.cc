#include "runtime/adapter/folded_modules.h"

#include <cmath>

#include "kernels/linear.h"

namespace shardora {
namespace {

std::span<const float> tensor_of(const PeftAdapter& adapter, const std::string& name,
                                 const std::vector<std::int64_t>& shape) {
  const auto found = adapter.tensors.find(name);
  if (found == adapter.tensors.end()) refuse(ExitStatus::kBadInput, "adapter: tensor {} is missing", name);
  const HostTensor& tensor = found->second;
  if (tensor.shape != shape) {
    refuse(ExitStatus::kBadInput, "adapter: tensor {} has shape {}, this model needs {}: is it for another base?", name,
           to_string(Shape(tensor.shape)), to_string(Shape(shape)));
  }
  SHARDORA_CHECK(tensor.dtype == DType::kF32);
  return {reinterpret_cast<const float*>(tensor.bytes.data()), tensor.bytes.size() / sizeof(float)};
}

std::map<std::string, std::vector<std::int64_t>> linear_shapes(const ModelConfig& config) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const NamedShape& tensor : expected_tensors(config)) {
    const bool linear = tensor.shape.size() == 2 && tensor.name.find("_proj.") != std::string::npos;
    if (linear) shapes[tensor.name.substr(0, tensor.name.rfind('.'))] = tensor.shape;
  }
  return shapes;
}

}  // namespace

std::map<std::string, FoldedModule> folded_modules(const ModelConfig& config, const PeftAdapter& adapter) {
  const std::map<std::string, std::vector<std::int64_t>> shapes = linear_shapes(config);
  std::vector<std::string> names;
  names.reserve(shapes.size());
  for (const auto& [name, shape] : shapes) names.push_back(name);
  std::map<std::string, FoldedModule> modules;
  const PeftConfig& peft = adapter.config;
  for (const TargetModule& target : select_targets(peft, names)) {
    const std::vector<std::int64_t>& shape = shapes.at(target.name);
    const auto rank = static_cast<double>(target.rank);
    FoldedModule module{.out = shape[0],
                        .in = shape[1],
                        .rank = target.rank,
                        .a = tensor_of(adapter, target.name + ".lora_A", {target.rank, shape[1]}),
                        .b = tensor_of(adapter, target.name + ".lora_B", {shape[0], target.rank}),
                        .scale = static_cast<float>(target.alpha / (peft.use_rslora ? std::sqrt(rank) : rank)),
                        .output_axis = peft.magnitude_axis != "input"};
    if (peft.use_dora) {
      module.magnitude =
          tensor_of(adapter, target.name + ".lora_magnitude_vector", {module.output_axis ? module.out : module.in});
    }
    modules.emplace(target.name, module);
  }
  const std::size_t expected = modules.size() * (peft.use_dora ? 3 : 2);
  if (adapter.tensors.size() != expected) {
    refuse(ExitStatus::kBadInput, "adapter: {} tensors, its configuration on this model needs {}",
           adapter.tensors.size(), expected);
  }
  return modules;
}

void add_low_rank(Backend& backend, const FoldedModule& module, std::int64_t first, TensorView rows) {
  const TensorView b = view_of(module.b, {module.out, module.rank}).rows(first, rows.size(0));
  matmul(
      backend,
      {.a = b, .b = view_of(module.a, {module.rank, module.in}), .c = rows, .scale = module.scale, .accumulate = true});
}

}  // namespace shardora
