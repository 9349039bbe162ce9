#include "runtime/jobs/plan/attention_floor.h"

#include <cmath>

#include "kernels/elementwise.h"

namespace shardora {

DeviceBuffer random_values(Backend& backend, RandomKey key, std::int64_t elements, DType type) {
  DeviceBuffer values(backend, elements * size_bytes(DType::kF32));
  const TensorView drawn{values.data(), DType::kF32, {1, elements}};
  fill_normal(backend, {.key = key, .out = drawn, .logical_columns = elements, .low = 0, .high = 1});
  if (type == DType::kF32) return values;
  DeviceBuffer converted(backend, elements * size_bytes(type));
  convert(backend, {.from = drawn, .to = {converted.data(), type, {1, elements}}});
  backend.synchronize();  // before the fp32 values go
  return converted;
}

AttentionFloor::AttentionFloor(Backend& backend, const Sizes& sizes, const Batch& batch)
    : backend_(backend), sizes_(sizes), tokens_(batch.size()) {
  for (std::size_t k = 0; k + 1 < batch.offsets.size(); ++k) {
    const double length = batch.offsets[k + 1] - batch.offsets[k];
    squared_lengths_ += length * length;
  }
  const Shape shape{std::ssize(batch.offsets)};
  buffers_.emplace_back(backend, shape.elements() * size_bytes(DType::kI32));
  const TensorView offsets{buffers_.back().data(), DType::kI32, shape};
  backend.copy_from_host(offsets, view_of(std::span(batch.offsets), shape));
  backend.synchronize();
  AttentionForward& op = op_.forward;
  op.query_offsets = op.key_offsets = offsets;
  op.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(sizes.head_dim)));
  op.q = take(sizes.heads, sizes.type, true);
  op.k = take(sizes.kv_heads, sizes.type, true), op.v = take(sizes.kv_heads, sizes.type, true);
  op.o = take(sizes.heads, sizes.type, false);
  buffers_.emplace_back(backend, tokens_ * sizes.heads * size_bytes(DType::kF32));
  op.lse = {buffers_.back().data(), DType::kF32, {tokens_, sizes.heads}};
  op_.d_o = take(sizes.heads, sizes.type, true), op_.dq = take(sizes.heads, sizes.type, false);
  op_.dk = take(sizes.kv_heads, sizes.type, false), op_.dv = take(sizes.kv_heads, sizes.type, false);
}

TensorView AttentionFloor::take(std::int64_t heads, DType type, bool random) {
  const Shape shape{tokens_, heads, sizes_.head_dim};
  const RandomKey key = random_key(random_key(3, "floor"), buffers_.size());
  buffers_.push_back(random ? random_values(backend_, key, shape.elements(), type)
                            : DeviceBuffer(backend_, shape.elements() * size_bytes(type)));
  return {buffers_.back().data(), type, shape};
}

void AttentionFloor::forward() { attention_forward(backend_, op_.forward); }
void AttentionFloor::backward() { attention_backward(backend_, op_); }

}  // namespace shardora
