#include "runtime/run/run_state.h"

#include <cstring>

#include "runtime/system/files.h"

namespace shardora {
namespace {

std::vector<float> to_host(Backend& backend, TensorView view) {
  std::vector<float> host(static_cast<std::size_t>(view.elements()));
  backend.copy_to_host(view_of(std::span(host), view.shape), view);
  backend.synchronize();
  return host;
}

}  // namespace

InitialMagnitudes read_magnitudes(Backend& backend, const ParameterSet& parameters) {
  InitialMagnitudes initial;
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    if (parameters.all()[i].kind == ParameterKind::kMagnitude) initial[i] = to_host(backend, parameters.value(i));
  }
  return initial;
}

TensorMap gather_state(Backend& backend, Communicator& tensor_group, const PlacementRule& rule,
                       const ParameterSet& parameters, const InitialMagnitudes& initial) {
  TensorMap state;
  const auto gather = [&](const std::string& what, const Parameter& parameter, TensorView shard) {
    HostTensor logical = gather_logical(backend, tensor_group, rule, parameter, shard);
    if (tensor_group.rank() == 0) state.emplace(what + parameter.name, std::move(logical));
  };
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    gather("moment1.", parameter, parameters.moment1(i));
    gather("moment2.", parameter, parameters.moment2(i));
    if (const auto found = initial.find(i); found != initial.end()) {
      // Through the gradient's place, which holds nothing between steps.
      backend.copy_from_host(parameters.gradient(i), view_of(std::span(found->second), parameter.local));
      gather("initial.", parameter, parameters.gradient(i));
    }
  }
  return state;
}

void write_state(const std::filesystem::path& file, const TensorMap& state, const Counters& counters) {
  write_safetensors(file, state, to_metadata(counters));
}

Counters load_state(const std::filesystem::path& file, Backend& backend, ParameterSet& parameters,
                    InitialMagnitudes& initial) {
  TensorMap state = read_safetensors(file);
  const auto take = [&](const std::string& name, const Parameter& parameter) -> HostTensor& {
    const auto found = state.find(name);
    if (found == state.end()) refuse(ExitStatus::kMismatch, "{}: tensor {} is missing", file.string(), name);
    if (found->second.shape != parameter.logical_shape) {
      refuse(ExitStatus::kMismatch, "{}: tensor {} has shape {}, this run needs {}", file.string(), name,
             to_string(Shape(found->second.shape)), to_string(Shape(parameter.logical_shape)));
    }
    return found->second;
  };
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    scatter_logical(backend, parameter, take("moment1." + parameter.name, parameter).f32(), parameters.moment1(i));
    scatter_logical(backend, parameter, take("moment2." + parameter.name, parameter).f32(), parameters.moment2(i));
    if (parameter.kind != ParameterKind::kMagnitude) continue;
    std::vector<float>& m0 = initial[i];
    m0.resize(static_cast<std::size_t>(parameter.local.elements()));
    copy_to_local(take("initial." + parameter.name, parameter).f32(), parameter.logical_shape, parameter.placement.axis,
                  parameter.placement.stored, m0);
  }
  return read_counters(SafetensorsFile(file).metadata(), file.string());
}

}  // namespace shardora
