#include "runtime/model/placement.h"

#include <algorithm>

namespace shardora {
namespace {

constexpr std::string_view kColumnModules[] = {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"};
constexpr std::string_view kRowModules[] = {"o_proj", "down_proj"};

bool any_of(std::span<const std::string_view> names, std::string_view leaf) {
  return std::find(names.begin(), names.end(), leaf) != names.end();
}

std::string_view leaf_of(std::string_view name) { return name.substr(name.rfind('.') + 1); }
std::string_view parent_of(std::string_view name) { return name.substr(0, std::min(name.rfind('.'), name.size())); }

Placement whole(std::int64_t size, GradientPart part) {
  return {.axis = -1, .stored = {0, size}, .used = {0, size}, .owner = true, .part = part};
}

bool works(const ModelConfig& config, std::int64_t p) {
  const std::int64_t kv = config.num_key_value_heads;
  return config.num_attention_heads % p == 0 && (kv % p == 0 || p % kv == 0);
}

}  // namespace

Range even_range(std::int64_t count, int i, int p) {
  const std::int64_t begin = count * i / p;
  return {begin, count * (i + 1) / p - begin};
}

PlacementRule::PlacementRule(const ModelConfig& config, int tensor_size, const AdapterOptions& adapter)
    : config_(config),
      tensor_size_(tensor_size),
      magnitude_axis_(adapter.magnitude_axis),
      partial_row_magnitude_(adapter.dropout > 0 && adapter.dropout_scope == DropoutScope::kInput) {
  if (works(config, tensor_size)) return;
  std::string possible;
  for (std::int64_t p = 1; p <= config.num_attention_heads; ++p) {
    if (works(config, p)) possible += (possible.empty() ? "" : ", ") + std::to_string(p);
  }
  refuse(
      ExitStatus::kUsage,
      "parallel.tensor = {} does not divide this model's heads ({} attention heads, {} key/value heads): use one of {}",
      tensor_size, config.num_attention_heads, config.num_key_value_heads, possible);
}

LinearKind PlacementRule::kind(std::string_view module) {
  const std::string_view leaf = leaf_of(module);
  if (any_of(kColumnModules, leaf)) return LinearKind::kColumn;
  if (any_of(kRowModules, leaf)) return LinearKind::kRow;
  refuse(ExitStatus::kInternal, "{}: no placement rule for this module", module);
}

Range PlacementRule::query_heads(int tensor_rank) const {
  return even_range(config_.num_attention_heads, tensor_rank, tensor_size_);
}

Range PlacementRule::kv_heads(int tensor_rank) const {
  const std::int64_t kv = config_.num_key_value_heads;
  if (shares_kv_heads()) return {tensor_rank * kv / tensor_size_, 1};
  return even_range(kv, tensor_rank, tensor_size_);
}

// A cut of `width` features of a module on `axis` of the tensor: by heads in attention, evenly in the MLP.
Placement PlacementRule::features(std::string_view module, int axis, std::int64_t width, int tensor_rank) const {
  const std::string_view leaf = leaf_of(module);
  Placement placement{.axis = axis, .part = GradientPart::kSharded};
  if (leaf == "k_proj" || leaf == "v_proj") {
    const Range heads = kv_heads(tensor_rank);
    placement.used = {heads.begin * config_.head_dim, heads.size * config_.head_dim};
    if (shares_kv_heads()) {
      placement.axis = -1;
      placement.stored = {0, width};
      placement.part = GradientPart::kPartial;
      placement.owner = tensor_rank == 0 || kv_heads(tensor_rank - 1) != heads;
      return placement;
    }
  } else if (leaf == "q_proj" || leaf == "o_proj") {
    const Range heads = query_heads(tensor_rank);
    placement.used = {heads.begin * config_.head_dim, heads.size * config_.head_dim};
  } else {
    placement.used = even_range(width, tensor_rank, tensor_size_);
  }
  placement.stored = placement.used;
  return placement;
}

Placement PlacementRule::adapter_tensor(std::string_view module, std::string_view leaf,
                                        std::span<const std::int64_t> shape, int tensor_rank) const {
  const bool column = kind(module) == LinearKind::kColumn;
  if (leaf == "lora_A") {
    return column ? whole(shape[0], GradientPart::kPartial) : features(module, 1, shape[1], tensor_rank);
  }
  if (leaf == "lora_B") {
    return column ? features(module, 0, shape[0], tensor_rank) : whole(shape[0], GradientPart::kPartial);
  }
  const bool cut = column == (magnitude_axis_ == MagnitudeAxis::kOutput);
  if (cut) return features(module, 0, shape[0], tensor_rank);
  const bool partial = column || partial_row_magnitude_;
  return whole(shape[0], partial ? GradientPart::kPartial : GradientPart::kComplete);
}

Placement PlacementRule::of(std::string_view name, std::span<const std::int64_t> shape, int tensor_rank) const {
  const std::string_view leaf = leaf_of(name), module = parent_of(name), module_leaf = leaf_of(module);
  if (leaf.starts_with("lora_")) return adapter_tensor(module, leaf, shape, tensor_rank);
  if (module_leaf == "embed_tokens" || module_leaf == "lm_head") {
    const Range rows = even_range(shape[0], tensor_rank, tensor_size_);
    return {.axis = 0, .stored = rows, .used = rows};
  }
  if (module_leaf == "q_norm" || module_leaf == "k_norm") return whole(shape[0], GradientPart::kPartial);
  if (module_leaf.ends_with("norm")) return whole(shape[0], GradientPart::kComplete);
  if (kind(module) == LinearKind::kColumn) return features(module, 0, shape[0], tensor_rank);
  if (leaf == "bias") return whole(shape[0], GradientPart::kComplete);
  return features(module, 1, shape[1], tensor_rank);
}

Shape local_shape(std::span<const std::int64_t> logical_shape, int axis, Range range) {
  std::vector<std::int64_t> sizes(logical_shape.begin(), logical_shape.end());
  if (axis >= 0) sizes[static_cast<std::size_t>(axis)] = range.size;
  return Shape(sizes);
}

namespace {

// Calls copy(logical offset, local offset, count) for each contiguous run of the range.
template <class Copy>
void for_each_run(std::span<const std::int64_t> shape, int axis, Range range, const Copy& copy) {
  std::int64_t outer = 1, inner = 1;
  const int cut = axis < 0 ? 0 : axis;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i) {
    (i < cut ? outer : inner) *= i == cut ? 1 : shape[static_cast<std::size_t>(i)];
  }
  const std::int64_t logical = shape[static_cast<std::size_t>(cut)], stored = axis < 0 ? logical : range.size;
  const std::int64_t begin = axis < 0 ? 0 : range.begin;
  for (std::int64_t o = 0; o < outer; ++o) {
    copy((o * logical + begin) * inner, o * stored * inner, stored * inner);
  }
}

}  // namespace

void copy_to_local(std::span<const float> logical, std::span<const std::int64_t> logical_shape, int axis, Range range,
                   std::span<float> local) {
  for_each_run(logical_shape, axis, range, [&](std::int64_t from, std::int64_t to, std::int64_t count) {
    SHARDORA_CHECK(from + count <= std::ssize(logical) && to + count <= std::ssize(local));
    std::copy_n(logical.begin() + from, count, local.begin() + to);
  });
}

void copy_to_logical(std::span<const float> local, std::span<const std::int64_t> logical_shape, int axis, Range range,
                     std::span<float> logical) {
  for_each_run(logical_shape, axis, range, [&](std::int64_t to, std::int64_t from, std::int64_t count) {
    SHARDORA_CHECK(to + count <= std::ssize(logical) && from + count <= std::ssize(local));
    std::copy_n(local.begin() + from, count, logical.begin() + to);
  });
}

}  // namespace shardora
