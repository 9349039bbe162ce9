#include "runtime/train/magnitude_drift.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace shardora {
namespace {

struct DriftSums {
  double sum = 0, largest = 0, count = 0;
  void add(const std::vector<float>& now, const std::vector<float>& before) {
    for (std::size_t i = 0; i < now.size(); ++i) {
      if (before[i] == 0) continue;
      const double drift = std::abs(static_cast<double>(now[i]) / static_cast<double>(before[i]) - 1);
      sum += drift, largest = std::max(largest, drift), count += 1;
    }
  }
};

}  // namespace

MagnitudeDrift::MagnitudeDrift(const Context& context, LoadedModel& model)
    : context_(context), model_(model), initial_(read_magnitudes(context.backend, model.parameters())) {}

// Replicated magnitudes are counted by tensor rank 0.
template <class Use>
void MagnitudeDrift::for_own_magnitudes(const Use& use) const {
  const ParameterSet& parameters = model_.parameters();
  for (const auto& [index, now] : read_magnitudes(context_.backend, parameters)) {
    const Parameter& parameter = parameters.all()[index];
    if (parameter.placement.axis < 0 && context_.grid.tensor_group->rank() != 0) continue;
    use(parameter.name, now, initial_.at(index));
  }
}

std::optional<StepMetrics::Drift> MagnitudeDrift::of_all() const {
  if (initial_.empty()) return std::nullopt;
  DriftSums sums;
  for_own_magnitudes([&](const std::string&, const auto& now, const auto& before) { sums.add(now, before); });
  Communicator& tensor_group = *context_.grid.tensor_group;
  const double sum = tensor_group.all_reduce(sums.sum, Reduction::kSum);
  const double count = tensor_group.all_reduce(sums.count, Reduction::kSum);
  return StepMetrics::Drift{.mean = count > 0 ? sum / count : 0,
                            .max = tensor_group.all_reduce(sums.largest, Reduction::kMax)};
}

std::vector<double> MagnitudeDrift::by_layer() const {
  if (initial_.empty()) return {};
  std::vector<DriftSums> layers(static_cast<std::size_t>(model_.decoder().config().num_hidden_layers));
  for_own_magnitudes([&](const std::string& name, const auto& now, const auto& before) {
    layers.at(static_cast<std::size_t>(layer_of(name))).add(now, before);
  });
  std::vector<double> means;
  for (const DriftSums& layer : layers) {
    const double sum = context_.grid.tensor_group->all_reduce(layer.sum, Reduction::kSum);
    const double count = context_.grid.tensor_group->all_reduce(layer.count, Reduction::kSum);
    means.push_back(count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN());
  }
  return means;
}

}  // namespace shardora
