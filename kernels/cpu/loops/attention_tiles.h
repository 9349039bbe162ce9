// What both directions of attention share: where sequences and heads lie, and who sees whom.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/attention.h"

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

constexpr std::int64_t kTile = 64;  // queries, and keys, that are worked on together

struct Range {
  std::int64_t first, last;  // [first, last)
  std::int64_t count() const { return last - first; }
};

inline Range overlap(Range a, Range b) {
  const std::int64_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.last, b.last))};
}

struct Sequence {
  Range queries, keys;                                                   // rows of q, and of k and v
  std::int64_t shift() const { return keys.count() - queries.count(); }  // position of the first query
};

inline Sequence sequence_of(const AttentionForward& op, std::int64_t s) {
  const std::int32_t* const queries = op.query_offsets.as<std::int32_t>();
  const std::int32_t* const keys = op.key_offsets.as<std::int32_t>();
  return {{queries[s], queries[s + 1]}, {keys[s], keys[s + 1]}};
}

// Keys (by position) that at least one of the queries at `positions` sees.
inline Range visible_keys(const AttentionMask& mask, Range positions, std::int64_t key_count) {
  if (mask.kind == MaskKind::kFull) return {0, key_count};
  const std::int64_t first = mask.kind == MaskKind::kWindow ? positions.first - mask.window + 1 : 0;
  return overlap({first, positions.last}, {0, key_count});
}

// Positions, not bounded by the sequence, of the queries that see at least one of `keys`.
inline Range seeing_positions(const AttentionMask& mask, Range keys, Range all) {
  if (mask.kind == MaskKind::kFull) return all;
  const std::int64_t last = mask.kind == MaskKind::kWindow ? keys.last - 1 + mask.window : all.last;
  return overlap({keys.first, last}, all);
}

// Whether every query at `positions` sees all of `keys`.
inline bool all_visible(const AttentionMask& mask, Range positions, Range keys) {
  if (mask.kind == MaskKind::kFull) return true;
  if (keys.last - 1 > positions.first) return false;
  return mask.kind == MaskKind::kCausal || keys.first > positions.last - 1 - mask.window;
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
