// What both directions of attention share: where sequences lie, and what the operation must hold to.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention_mask.h"

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

constexpr std::int64_t kTile = 64;  // queries, and keys, that are worked on together

using attention::all_visible;
using attention::overlap;
using attention::seeing_positions;
using attention::visible_keys;
using Range = attention::Range<std::int64_t>;
using Sequence = attention::Sequence<std::int64_t>;

inline Sequence sequence_of(const AttentionForward& op, std::int64_t s) {
  const std::int32_t* const queries = op.query_offsets.as<std::int32_t>();
  const std::int32_t* const keys = op.key_offsets.as<std::int32_t>();
  return {{queries[s], queries[s + 1]}, {keys[s], keys[s + 1]}};
}

inline std::int64_t sequence_count(const AttentionForward& op) { return op.query_offsets.size(0) - 1; }

inline std::int64_t longest(TensorView offsets) {
  const std::int32_t* const at = offsets.as<std::int32_t>();
  std::int64_t length = 0;
  for (std::int64_t s = 0; s + 1 < offsets.size(0); ++s) length = std::max<std::int64_t>(length, at[s + 1] - at[s]);
  return length;
}

inline void check(const AttentionForward& op) {
  const std::int64_t heads = op.q.size(1);
  const std::int64_t kv_heads = op.k.size(1);
  SHARDORA_CHECK(kv_heads >= 1 && heads % kv_heads == 0 && op.q.size(2) >= 1 && op.q.size(2) == op.k.size(2));
  SHARDORA_CHECK(op.k.shape == op.v.shape && op.o.shape == op.q.shape);
  SHARDORA_CHECK(op.lse.shape == (Shape{op.q.size(0), heads}));
  SHARDORA_CHECK(op.query_offsets.shape == op.key_offsets.shape && sequence_count(op) >= 0);
  SHARDORA_CHECK(op.mask.kind != MaskKind::kWindow || op.mask.window >= 1);
  for (std::int64_t s = 0; s < sequence_count(op); ++s) {
    const Sequence sequence = sequence_of(op, s);
    SHARDORA_CHECK(sequence.queries.first >= 0 && sequence.queries.count() >= 0);
    SHARDORA_CHECK(sequence.keys.first >= 0 && sequence.keys.count() >= 0);
    SHARDORA_CHECK(sequence.queries.last <= op.q.size(0) && sequence.keys.last <= op.k.size(0));
    // Every query sees a key: itself, or for the full mask any.
    SHARDORA_CHECK(op.mask.kind == MaskKind::kFull ? sequence.queries.count() == 0 || sequence.keys.count() > 0
                                                   : sequence.shift() >= 0);
  }
}

}  // namespace
}  // namespace shardora::cpu
