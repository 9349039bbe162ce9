// Who sees whom in attention (attention.h), by ranges: what every backend's loops over tiles ask.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/inline.h"

namespace shardora::attention {

struct Range {
  std::int64_t first, last;  // [first, last)
  SHARDORA_INLINE std::int64_t count() const { return last - first; }
};

SHARDORA_INLINE Range overlap(Range a, Range b) {
  const std::int64_t first = a.first > b.first ? a.first : b.first;
  const std::int64_t last = a.last < b.last ? a.last : b.last;
  return {first, last > first ? last : first};
}

struct Sequence {
  Range queries, keys;                                                                   // rows of q, and of k and v
  SHARDORA_INLINE std::int64_t shift() const { return keys.count() - queries.count(); }  // position of the first query
};

// Keys (by position) that at least one of the queries at `positions` sees.
SHARDORA_INLINE Range visible_keys(const AttentionMask& mask, Range positions, std::int64_t key_count) {
  if (mask.kind == MaskKind::kFull) return {0, key_count};
  const std::int64_t first = mask.kind == MaskKind::kWindow ? positions.first - mask.window + 1 : 0;
  return overlap({first, positions.last}, {0, key_count});
}

// Positions, not bounded by the sequence, of the queries that see at least one of `keys`.
SHARDORA_INLINE Range seeing_positions(const AttentionMask& mask, Range keys, Range all) {
  if (mask.kind == MaskKind::kFull) return all;
  const std::int64_t last = mask.kind == MaskKind::kWindow ? keys.last - 1 + mask.window : all.last;
  return overlap({keys.first, last}, all);
}

// Whether every query at `positions` sees all of `keys`.
SHARDORA_INLINE bool all_visible(const AttentionMask& mask, Range positions, Range keys) {
  if (mask.kind == MaskKind::kFull) return true;
  if (keys.last - 1 > positions.first) return false;
  return mask.kind == MaskKind::kCausal || keys.first > positions.last - 1 - mask.window;
}

}  // namespace shardora::attention
