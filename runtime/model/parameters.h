// What trains: every trainable tensor's shard in one flat fp32 buffer, beside flat buffers of gradients and AdamW
// moments of the same layout, in three parts so that each needs one collective:
//
//   [ partial, replicated | complete, replicated | sharded ]
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "runtime/comm/communicator.h"
#include "runtime/formats/safetensors.h"
#include "runtime/memory/arena.h"
#include "runtime/model/placement.h"

namespace shardora {

enum class ParameterKind : std::uint8_t { kA, kB, kMagnitude, kWeight };  // learning rate and weight decay go by kind

struct Parameter {
  std::string name;  // logical: "<module>.lora_A", or a base tensor's name
  std::vector<std::int64_t> logical_shape;
  ParameterKind kind = ParameterKind::kWeight;
  Placement placement;
  std::int64_t offset = 0;  // elements, in each flat buffer
  Shape local;              // shape of this rank's shard
};

class ParameterSet {
 public:
  // Declares one tensor; the index finds its views after layout().
  std::size_t declare(const PlacementRule& rule, int tensor_rank, std::string name,
                      std::vector<std::int64_t> logical_shape, ParameterKind kind);
  // Orders the parts and takes the buffers: values, and, to train them, gradients and moments. `compute`: the type in
  // which products take the values; another one than fp32 needs copies. Call once.
  void layout(Arena& arena, bool training, DType compute);

  const std::vector<Parameter>& all() const { return parameters_; }
  TensorView value(std::size_t index) const { return shard(values_, index); }
  TensorView gradient(std::size_t index) const { return shard(gradients_, index); }
  TensorView moment1(std::size_t index) const { return shard(moments1_, index); }
  TensorView moment2(std::size_t index) const { return shard(moments2_, index); }
  // The value as products take it; as of the last refresh_copies().
  TensorView compute_value(std::size_t index) const { return shard(copies_ ? copies_ : values_, index); }
  void refresh_copies(Backend& backend) const;
  TensorView values() const { return values_; }
  TensorView gradients() const { return gradients_; }
  TensorView moments1() const { return moments1_; }
  TensorView moments2() const { return moments2_; }

  std::int64_t partial_elements() const { return partial_end_; }
  std::int64_t replicated_elements() const { return complete_end_; }  // partial and complete
  std::int64_t elements() const { return end_; }
  std::int64_t logical_elements() const;  // of the whole model, each counted once

 private:
  TensorView shard(TensorView flat, std::size_t index) const;
  std::vector<Parameter> parameters_;
  std::int64_t partial_end_ = 0, complete_end_ = 0, end_ = 0;
  TensorView values_, copies_, gradients_, moments1_, moments2_;
};

// Moves one parameter's shard between a flat buffer's view and its logical tensor.
// gather: all ranks of the tensor group call; the logical fp32 tensor is complete on tensor rank 0 (empty elsewhere).
HostTensor gather_logical(Backend& backend, Communicator& tensor_group, const PlacementRule& rule,
                          const Parameter& parameter, TensorView shard);
// scatter: every rank gives the whole logical tensor (fp32, of the logical shape) and keeps its shard.
void scatter_logical(Backend& backend, const Parameter& parameter, std::span<const float> logical, TensorView shard);

}  // namespace shardora
