// The one rule of how any logical tensor is cut over the tensor group. Loading, initialising, reducing, counting
// in the gradient norm, saving, exporting and merging all ask here; no other code knows how anything is cut.
//
//   q, k, v, gate, up   column-parallel: the output features are cut         o, down   row-parallel: the input features
//   embedding, head     the vocabulary is cut (uneven where p does not divide it)        norms   whole on every rank
//
// KV heads fewer than p: a rank computes with one KV head. What trains of k and v is then stored whole on every rank,
// each fills the gradient of its own head's rows, and the first holder of a head (its owner) speaks for it in sums over
// weights.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"
#include "runtime/formats/model_config.h"
#include "runtime/options.h"

namespace shardora {

// Which sum over the tensor group a gradient needs.
enum class GradientPart : std::uint8_t {
  kPartial,   // replicated tensor, each rank has a part of its gradient: sum
  kComplete,  // replicated tensor, each rank has all of its gradient: tensor rank 0 speaks
  kSharded,   // each rank has its own piece: no sum
};

struct Range {
  std::int64_t begin = 0, size = 0;
  bool operator==(const Range&) const = default;
};

struct Placement {
  int axis = -1;      // the axis that is cut; -1: stored whole
  Range stored = {};  // on that axis (axis 0 where stored whole): what this rank keeps where the tensor trains
  Range used = {};    // on the same axis: what this rank computes with, and keeps where it is frozen
  bool owner = true;  // this rank speaks for `used` in sums over weights
  GradientPart part = GradientPart::kSharded;
};

enum class LinearKind : std::uint8_t { kColumn, kRow };

class PlacementRule {
 public:
  // Throws Error(kUsage) naming the tensor-parallel sizes that would work where this one does not divide the heads.
  PlacementRule(const ModelConfig& config, int tensor_size, const AdapterOptions& adapter);

  // Any tensor of the base model (model.layers.0.self_attn.q_proj.weight) or of an adapter (<module>.lora_A, .lora_B,
  // .lora_magnitude_vector). Throws on a name that has no rule.
  Placement of(std::string_view name, std::span<const std::int64_t> logical_shape, int tensor_rank) const;

  static LinearKind kind(std::string_view module);
  int tensor_size() const { return tensor_size_; }
  bool shares_kv_heads() const { return tensor_size_ > config_.num_key_value_heads; }
  Range query_heads(int tensor_rank) const;
  Range kv_heads(int tensor_rank) const;  // used by the rank

 private:
  Placement features(std::string_view module, int axis, std::int64_t width, int tensor_rank) const;
  Placement adapter_tensor(std::string_view module, std::string_view leaf, std::span<const std::int64_t> shape,
                           int tensor_rank) const;

  ModelConfig config_;
  int tensor_size_;
  MagnitudeAxis magnitude_axis_;
  bool partial_row_magnitude_;  // dropout in scope `input`: h of row-parallel modules is partial
};

// Range i of p of `count` things: as even as can be, in order.
Range even_range(std::int64_t count, int i, int p);

// The local shape of a logical one, and moving between them on the host (fp32).
Shape local_shape(std::span<const std::int64_t> logical_shape, int axis, Range range);
void copy_to_local(std::span<const float> logical, std::span<const std::int64_t> logical_shape, int axis, Range range,
                   std::span<float> local);
void copy_to_logical(std::span<const float> local, std::span<const std::int64_t> logical_shape, int axis, Range range,
                     std::span<float> logical);

}  // namespace shardora
