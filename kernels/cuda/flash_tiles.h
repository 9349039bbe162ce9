// What our own attention kernels share: how packed sequences are cut into tiles of rows, one block each, where a head's
// rows lie, and which columns a row meets. "Rows" are what a block owns and writes, "columns" what streams past it:
// queries and keys, or for the gradients of the keys, keys and queries.
#pragma once

#include <limits>

#include "kernels/attention_mask.h"
#include "kernels/cuda/elements.h"

namespace shardora::cuda {

using Range = attention::Range<int>;
using Sequence = attention::Sequence<int>;

// A thread's own numbers. Every loop over them is unrolled, so that they stay in registers.
template <class T, int kCount>
struct Registers {
  T values[static_cast<std::size_t>(kCount)];
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};

// The operation as a kernel sees it.
struct FlashShape {
  const std::int32_t* query_offsets;  // [sequences + 1]
  const std::int32_t* key_offsets;    // [sequences + 1]
  int sequences, heads, kv_heads, dim;
  bool aligned;  // rows may be moved 16 bytes at a time
  float scale;
  AttentionMask mask;
};

// Tiles of kRows rows. The first tile of sequence s has the number offsets[s] / kRows + s: at least as many as the
// sequences before it need, found by bisection, and few are left over.
inline unsigned blocks_for(std::int64_t tokens, std::int64_t sequences, int rows, int heads) {
  return sequences == 0 ? 0 : static_cast<unsigned>((tokens / rows + sequences) * heads);
}
struct Tile {
  int sequence;
  int first;  // row of the sequence; beyond its end where the number was left over
};
template <int kRows>
__device__ Tile tile_of(const std::int32_t* offsets, int sequences, int number) {
  int first = 0, last = sequences;  // the sequence is in [first, last)
  while (last - first > 1) {
    const int middle = (first + last) / 2;
    (offsets[middle] / kRows + middle <= number ? first : last) = middle;
  }
  const int tile = number - (offsets[first] / kRows + first);
  // Before the first sequence's tiles there may be others, where it does not begin at row 0.
  constexpr int kNone = std::numeric_limits<int>::max() - kRows;
  return {first, tile < 0 ? kNone : tile * kRows};
}

__device__ inline Sequence sequence_of(const FlashShape& shape, int s) {
  return {{shape.query_offsets[s], shape.query_offsets[s + 1]}, {shape.key_offsets[s], shape.key_offsets[s + 1]}};
}

// The part of a sequence that a block works on: row tile number `number` of head `head` (a key's head if kOfKeys).
struct Work {
  Sequence sequence;
  int head;
  Range rows;  // of the sequence; empty: there is nothing to do
};
template <int kRows, bool kOfKeys>
__device__ Work work_of_block(const FlashShape& shape) {
  const int heads = kOfKeys ? shape.kv_heads : shape.heads;
  const int blocks = static_cast<int>(gridDim.x) / heads, rank = static_cast<int>(blockIdx.x) / heads;
  // Under a mask that looks back late queries and early keys have most to do: they start first.
  const Tile tile = tile_of<kRows>(kOfKeys ? shape.key_offsets : shape.query_offsets, shape.sequences,
                                   kOfKeys ? rank : blocks - 1 - rank);
  const Sequence sequence = sequence_of(shape, tile.sequence);
  const Range all{0, kOfKeys ? sequence.keys.count() : sequence.queries.count()};
  return {sequence, static_cast<int>(blockIdx.x) % heads,
          attention::overlap<int>({tile.first, tile.first + kRows}, all)};
}

// The columns that at least one of `rows` meets: the keys that queries see, or the queries that see keys.
template <bool kOfKeys>
__device__ Range columns_of(const AttentionMask& mask, const Sequence& sequence, Range rows) {
  const int shift = sequence.shift(), keys = sequence.keys.count();
  if (!kOfKeys) return attention::visible_keys<int>(mask, {shift + rows.first, shift + rows.last}, keys);
  const Range positions = attention::seeing_positions<int>(mask, rows, {shift, keys});
  return {positions.first - shift, positions.last - shift};
}

// Whether each of `rows` meets each of `columns`.
template <bool kOfKeys>
__device__ bool all_meet(const AttentionMask& mask, const Sequence& sequence, Range rows, Range columns) {
  const Range queries = kOfKeys ? columns : rows, keys = kOfKeys ? rows : columns;
  const int shift = sequence.shift();
  return attention::all_visible<int>(mask, {shift + queries.first, shift + queries.last}, keys);
}

// One head of a sequence in a tensor [tokens, heads, dim]: T may be const.
template <class T>
struct HeadRows {
  T* data;
  int stride;  // from row to row
  __device__ T* row(int i) const { return data + std::int64_t{i} * stride; }
};
template <class T>
__device__ HeadRows<T> head_rows(T* tensor, Range rows, int heads, int head, int dim) {
  return {tensor + (std::int64_t{rows.first} * heads + head) * dim, heads * dim};
}

// Elements [d, d + a vector) of row `row` of `rows`; zero beyond the rows and beyond dim.
template <class T>
__device__ AlignedVector<T> load_of_row(const FlashShape& shape, HeadRows<const T> from, Range rows, int row, int d) {
  AlignedVector<T> vector{};
  if (rows.first + row >= rows.last || d >= shape.dim) return vector;
  const T* const at = from.row(rows.first + row) + d;
  if (shape.aligned) return load_vector(at);
#pragma unroll
  for (int k = 0; k < AlignedVector<T>::kCount; ++k) {
    if (d + k < shape.dim) vector.values[k] = at[k];
  }
  return vector;
}

// function(std::integral_constant<int, size>) with the smallest head size that has kernels and holds `dim`.
template <class Function>
void with_head_size(std::int64_t dim, const Function& function) {
  if (dim <= 32) return function(std::integral_constant<int, 32>{});
  if (dim <= 64) return function(std::integral_constant<int, 64>{});
  if (dim <= 96) return function(std::integral_constant<int, 96>{});
  if (dim <= 128) return function(std::integral_constant<int, 128>{});
  return function(std::integral_constant<int, 256>{});
}

}  // namespace shardora::cuda
