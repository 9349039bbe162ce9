#include "runtime/model/parameters.h"

#include <cstring>
#include <functional>
#include <numeric>

#include "kernels/elementwise.h"

namespace shardora {
namespace {
constexpr std::int64_t kAlignment = 16;  // elements; the gaps stay 0 and add nothing to any sum
}

std::size_t ParameterSet::declare(const PlacementRule& rule, int tensor_rank, std::string name,
                                  std::vector<std::int64_t> logical_shape, ParameterKind kind) {
  Parameter parameter{.name = std::move(name), .logical_shape = std::move(logical_shape), .kind = kind};
  parameter.placement = rule.of(parameter.name, parameter.logical_shape, tensor_rank);
  parameter.local = local_shape(parameter.logical_shape, parameter.placement.axis, parameter.placement.stored);
  parameters_.push_back(std::move(parameter));
  return parameters_.size() - 1;
}

void ParameterSet::layout(Arena& arena, bool training, DType compute) {
  std::int64_t at = 0;
  const auto place = [&](GradientPart part) {
    for (Parameter& parameter : parameters_) {
      if (parameter.placement.part != part) continue;
      parameter.offset = at;
      at += (parameter.local.elements() + kAlignment - 1) / kAlignment * kAlignment;
    }
    return at;
  };
  partial_end_ = place(GradientPart::kPartial);
  complete_end_ = place(GradientPart::kComplete);
  end_ = place(GradientPart::kSharded);
  values_ = arena.take("parameters", DType::kF32, {end_});
  if (compute != DType::kF32) copies_ = arena.take("parameters", compute, {end_});
  if (!training) return;
  gradients_ = arena.take("gradients", DType::kF32, {end_});
  moments1_ = arena.take("optimizer", DType::kF32, {end_});
  moments2_ = arena.take("optimizer", DType::kF32, {end_});
}

void ParameterSet::refresh_copies(Backend& backend) const {
  if (copies_) convert(backend, {.from = values_, .to = copies_});
}

std::int64_t ParameterSet::logical_elements() const {
  std::int64_t total = 0;
  for (const Parameter& parameter : parameters_) {
    total += std::accumulate(parameter.logical_shape.begin(), parameter.logical_shape.end(), std::int64_t{1},
                             std::multiplies<>());
  }
  return total;
}

TensorView ParameterSet::shard(TensorView flat, std::size_t index) const {
  const Parameter& parameter = parameters_.at(index);
  if (!flat) return {nullptr, DType::kF32, parameter.local};
  return flat.rows(parameter.offset, parameter.local.elements()).reshaped(parameter.local);
}

HostTensor gather_logical(Backend& backend, Communicator& tensor_group, const PlacementRule& rule,
                          const Parameter& parameter, TensorView shard) {
  std::vector<std::byte> mine(static_cast<std::size_t>(shard.bytes()));
  backend.copy_to_host({mine.data(), DType::kF32, shard.shape}, shard);
  backend.synchronize();
  const auto parts = tensor_group.gather(mine, 0);
  HostTensor logical{.dtype = DType::kF32, .shape = parameter.logical_shape};
  if (tensor_group.rank() != 0) return logical;
  const std::int64_t elements =
      std::accumulate(logical.shape.begin(), logical.shape.end(), std::int64_t{1}, std::multiplies<>());
  logical.bytes.resize(static_cast<std::size_t>(elements) * sizeof(float));
  // Bytes are moved, never added: what is written is what the ranks hold, to the bit.
  for (int rank = 0; rank < tensor_group.size(); ++rank) {
    const Placement placement = rule.of(parameter.name, parameter.logical_shape, rank);
    if (placement.axis < 0 && rank > 0) break;  // replicated: rank 0 has spoken
    const std::vector<std::byte>& part = parts[static_cast<std::size_t>(rank)];
    std::vector<float> values(part.size() / sizeof(float));
    std::memcpy(values.data(), part.data(), part.size());
    copy_to_logical(values, logical.shape, placement.axis, placement.stored, logical.f32());
  }
  return logical;
}

void scatter_logical(Backend& backend, const Parameter& parameter, std::span<const float> logical, TensorView shard) {
  std::vector<float> local(static_cast<std::size_t>(shard.elements()));
  copy_to_local(logical, parameter.logical_shape, parameter.placement.axis, parameter.placement.stored, local);
  backend.copy_from_host(shard, view_of(std::span<float>(local), shard.shape));
  backend.synchronize();
}

}  // namespace shardora
