// Counter-based random numbers: element i of stream `key` is a pure function of (key, i), so results do not depend on
// how work is split. Philox-4x32-10 (Salmon et al., SC'11).
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/backend.h"

namespace shardora {

struct RandomKey {
  std::uint64_t value = 0;
};
// The stream of (seed, purpose, name); different arguments give unrelated streams.
RandomKey random_key(std::uint64_t seed, std::string_view purpose, std::string_view name = {});
// A sub-stream, for example of an optimizer step.
RandomKey random_key(RandomKey key, std::uint64_t index);

std::uint64_t random_bits(RandomKey key, std::uint64_t index);  // 64 uniform bits
std::uint64_t random_below(RandomKey key, std::uint64_t index,
                           std::uint64_t bound);  // uniform in [0, bound), bound >= 1

// Fills the block [first_row, + rows) x [first_column, + columns) of a logical [*, logical_columns] matrix.
// uniform: in [low, high).   normal: mean low, standard deviation high.
struct RandomFill {
  RandomKey key;
  TensorView out;  // fp32 [rows, columns]
  std::int64_t first_row = 0, first_column = 0, logical_columns = 0;
  float low = 0, high = 1;
};
void fill_uniform(Backend& backend, const RandomFill& op);
void fill_normal(Backend& backend, const RandomFill& op);

// Scaled dropout mask D in {0, 1/(1-p)}, keyed by the sequence's index, the position and the logical feature:
//   y (=|+=) D.x        the same call masks a gradient.
struct Dropout {
  TensorView x;  // [tokens, width]
  TensorView y;  // [tokens, width]; may be x when not accumulating
  bool accumulate = false;
  RandomKey key;                   // of (seed, step, module)
  TensorView sequence_indices;     // int64 [tokens]: index of the sequence in the global batch
  TensorView positions;            // int32 [tokens]
  std::int64_t first_feature = 0;  // of this shard
  float probability = 0;           // in [0, 1)
};
void dropout(Backend& backend, const Dropout& op);

}  // namespace shardora
