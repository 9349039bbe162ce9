// Who sees whom in attention (attention.h), by ranges: what every backend's loops over tiles ask. Index: int64_t, or
// int where registers are dear; a window may be wider than an int.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/inline.h"

namespace shardora::attention {

template <class Index>
struct Range {
  Index first, last;  // [first, last)
  SHARDORA_INLINE Index count() const { return last - first; }
};

template <class Index>
SHARDORA_INLINE Range<Index> overlap(Range<Index> a, Range<Index> b) {
  const Index first = a.first > b.first ? a.first : b.first;
  const Index last = a.last < b.last ? a.last : b.last;
  return {first, last > first ? last : first};
}

template <class Index>
struct Sequence {
  Range<Index> queries, keys;                                                     // rows of q, and of k and v
  SHARDORA_INLINE Index shift() const { return keys.count() - queries.count(); }  // position of the first query
};

// Keys (by position) that at least one of the queries at `positions` sees.
template <class Index>
SHARDORA_INLINE Range<Index> visible_keys(const AttentionMask& mask, Range<Index> positions, Index key_count) {
  if (mask.kind == MaskKind::kFull) return {0, key_count};
  const std::int64_t first = mask.kind == MaskKind::kWindow ? positions.first - mask.window + 1 : 0;
  return overlap<Index>({first > 0 ? static_cast<Index>(first) : 0, positions.last}, {0, key_count});
}

// Positions, not bounded by the sequence, of the queries that see at least one of `keys`.
template <class Index>
SHARDORA_INLINE Range<Index> seeing_positions(const AttentionMask& mask, Range<Index> keys, Range<Index> all) {
  if (mask.kind == MaskKind::kFull) return all;
  const std::int64_t last = mask.kind == MaskKind::kWindow ? keys.last - 1 + mask.window : all.last;
  return overlap<Index>({keys.first, last < all.last ? static_cast<Index>(last) : all.last}, all);
}

// Whether every query at `positions` sees all of `keys`.
template <class Index>
SHARDORA_INLINE bool all_visible(const AttentionMask& mask, Range<Index> positions, Range<Index> keys) {
  if (mask.kind == MaskKind::kFull) return true;
  if (keys.last - 1 > positions.first) return false;
  return mask.kind == MaskKind::kCausal || keys.first > positions.last - 1 - mask.window;
}

}  // namespace shardora::attention
