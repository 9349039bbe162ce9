// Between this program's options and PEFT's configuration, and out to a PEFT folder's content.
#include <algorithm>
#include <set>

#include "runtime/adapter/adapter.h"

namespace shardora {
namespace {

const char* axis_name(MagnitudeAxis axis) { return axis == MagnitudeAxis::kOutput ? "output" : "input"; }
const char* scope_name(DropoutScope scope) { return scope == DropoutScope::kInput ? "input" : "adapter"; }
const char* method_name(AdapterMethod method) { return method == AdapterMethod::kDora ? "dora" : "lora"; }

// What the adapter has, unless the user asked for something else by an option that is not at its default.
template <class Value, class Word>
Value settle(const char* key, const Value& has, const Value& asked, const Value& unset, const Word& word) {
  if (asked != unset && asked != has) {
    refuse(
        ExitStatus::kMismatch,
        "adapter.{} = {}, but the adapter given by adapter.path has {}: leave the key out, or start from a new adapter",
        key, word(asked), word(has));
  }
  return has;
}

}  // namespace

PeftConfig to_peft_config(const AdapterOptions& options) {
  PeftConfig config{.rank = options.rank,
                    .alpha = options.alpha,
                    .dropout = options.dropout,
                    .use_dora = options.method == AdapterMethod::kDora,
                    .use_rslora = options.rslora,
                    .target_modules = options.target_modules,
                    .exclude_modules = options.exclude_modules,
                    .layers_to_transform = options.layers,
                    .rank_pattern = options.rank_pattern,
                    .alpha_pattern = options.alpha_pattern,
                    .magnitude_axis = axis_name(options.magnitude_axis),
                    .dropout_scope = scope_name(options.dropout_scope)};
  if (options.target_modules == std::vector<std::string>{"all-linear"}) {
    config.target_modules.clear();
    config.target_pattern = "all-linear";
  }
  return config;
}

AdapterOptions options_of(const PeftConfig& config, const AdapterOptions& asked) {
  const AdapterOptions unset;
  const auto plain = [](const auto& value) { return value; };
  AdapterOptions options = asked;
  options.method = settle("method", config.use_dora ? AdapterMethod::kDora : AdapterMethod::kLora, asked.method,
                          unset.method, method_name);
  options.rank = settle("rank", config.rank, asked.rank, unset.rank, plain);
  options.alpha = settle("alpha", config.alpha, asked.alpha, unset.alpha, plain);
  options.rslora = settle("rslora", config.use_rslora, asked.rslora, unset.rslora, plain);
  options.dropout = settle("dropout", config.dropout, asked.dropout, unset.dropout, plain);
  options.magnitude_axis =
      settle("magnitude_axis", config.magnitude_axis == "input" ? MagnitudeAxis::kInput : MagnitudeAxis::kOutput,
             asked.magnitude_axis, unset.magnitude_axis, axis_name);
  options.dropout_scope =
      settle("dropout_scope", config.dropout_scope == "adapter" ? DropoutScope::kAdapter : DropoutScope::kInput,
             asked.dropout_scope, unset.dropout_scope, scope_name);
  return options;
}

PeftAdapter export_adapter(Backend& backend, Communicator& tensor_group, const PlacementRule& rule,
                           const ParameterSet& parameters, const PeftConfig& config) {
  PeftAdapter adapter{.config = config};
  std::set<std::string> leaves;
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    const Parameter& parameter = parameters.all()[i];
    HostTensor logical = gather_logical(backend, tensor_group, rule, parameter, parameters.value(i));
    if (tensor_group.rank() == 0) adapter.tensors.emplace(parameter.name, std::move(logical));
    const std::string module = parameter.name.substr(0, parameter.name.rfind('.'));
    leaves.insert(module.substr(module.rfind('.') + 1));
  }
  if (config.target_pattern == "all-linear") {  // written out, as PEFT itself does
    adapter.config.target_pattern.clear();
    adapter.config.target_modules.assign(leaves.begin(), leaves.end());
  }
  return adapter;
}

}  // namespace shardora
