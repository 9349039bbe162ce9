// Keys and values of the tokens that sequences already have, so that continuing them needs only their new tokens.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace shardora {

struct LayerCache {
  TensorView k, v;  // [rows, kv_heads, head_dim] of this rank, k after rope
};

// What a batch does with the cache, on the host. Each token's key and value go to a row of their own, in every layer.
struct CachePlaces {
  std::vector<std::int32_t> rows;  // [tokens], distinct
  // Who sees what of the cache, as in attention.h; the rows between two sequences are a sequence without queries. Both
  // empty: the batch holds whole sequences, which see themselves as in training.
  std::vector<std::int32_t> query_offsets, key_offsets;
};

// The same on the device, with the cache itself. Nothing is owned.
struct CacheAccess {
  std::span<const LayerCache> layers;  // empty: there is no cache
  TensorView rows;                     // int32 [tokens]
  TensorView query_offsets, key_offsets;
};

// The cache, and room for the places of the largest batch.
struct KvCache {
  std::vector<LayerCache> layers;
  TensorView rows, query_offsets, key_offsets;
};

}  // namespace shardora
