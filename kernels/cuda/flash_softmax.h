// The softmax of our own attention kernels, forward (online) and backward, over a tile of scores that lies in
// registers. Exponentials are to base two, the device's own: scores come in multiplied by scale * log2(e).
//
// Scores: a thread's share of the tile. kRowCount x kColumnCount numbers at(i, j), which belong to the tile's row(i)
// and column(j); a row is shared by kLanes consecutive lanes.
#pragma once

#include "kernels/cuda/block.h"
#include "kernels/cuda/flash_tiles.h"
#include "kernels/cuda/fragments.h"

namespace shardora::cuda {

inline constexpr float kLog2OfE = 1.44269504088896341F, kLnOf2 = 0.693147180559945309F;

// `value` in place of the numbers whose row and column do not meet.
template <bool kOfKeys, class Scores>
__device__ void hide(const FlashShape& shape, const Work& work, Range columns, float value, Scores& scores) {
#pragma unroll
  for (int i = 0; i < Scores::kRowCount; ++i) {
    const int row = work.rows.first + scores.row(i);
    const Range met = attention::overlap(columns, columns_of<kOfKeys>(shape.mask, work.sequence, {row, row + 1}));
#pragma unroll
    for (int j = 0; j < Scores::kColumnCount; ++j) {
      const int column = columns.first + scores.column(j);
      if (column < met.first || column >= met.last) scores.at(i, j) = value;
    }
  }
}
template <bool kOfKeys, class Scores>
__device__ bool nothing_to_hide(const FlashShape& shape, const Work& work, Range columns) {
  return columns.count() == Scores::kWidth && all_meet<kOfKeys>(shape.mask, work.sequence, work.rows, columns);
}

// scores *= scale * log2(e), -infinity where the row does not see the column.
template <class Scores>
__device__ void scale_and_hide(const FlashShape& shape, const Work& work, Range keys, Scores& scores) {
#pragma unroll
  for (int i = 0; i < Scores::kRowCount; ++i) {
#pragma unroll
    for (int j = 0; j < Scores::kColumnCount; ++j) scores.at(i, j) *= shape.scale * kLog2OfE;
  }
  if (nothing_to_hide<false, Scores>(shape, work, keys)) return;
  hide<false>(shape, work, keys, -INFINITY, scores);
}

// The softmax of rows of queries on their way through the keys.
template <class Scores>
struct OnlineSoftmax {
  Registers<float, Scores::kRowCount> max, sum;  // sum: of this thread's columns until finish()

  __device__ OnlineSoftmax() {
#pragma unroll
    for (int i = 0; i < Scores::kRowCount; ++i) {
      max[i] = -INFINITY;
      sum[i] = 0;
    }
  }
  // Scores become 2^(score - max). Returned: what was summed under the older maximum is to be multiplied by this.
  __device__ Registers<float, Scores::kRowCount> update(Scores& scores) {
    Registers<float, Scores::kRowCount> shrink;
#pragma unroll
    for (int i = 0; i < Scores::kRowCount; ++i) {
      float most = max[i];
#pragma unroll
      for (int j = 0; j < Scores::kColumnCount; ++j) most = MaxOf::join(scores.at(i, j), most);
      most = over_row<MaxOf>(most);
      const float shift = most == -INFINITY ? 0.0F : most;  // no key seen yet: -inf - -inf is not a number
      shrink[i] = exp2_approx(max[i] - shift);
      max[i] = most;
      sum[i] *= shrink[i];
#pragma unroll
      for (int j = 0; j < Scores::kColumnCount; ++j) {
        scores.at(i, j) = exp2_approx(scores.at(i, j) - shift);
        sum[i] += scores.at(i, j);
      }
    }
    return shrink;
  }
  // Writes lse of the rows that exist; returned: 1 / sum.
  __device__ Registers<float, Scores::kRowCount> finish(const FlashShape& shape, const Work& work, float* lse) {
    Registers<float, Scores::kRowCount> shares;
#pragma unroll
    for (int i = 0; i < Scores::kRowCount; ++i) {
      const float total = over_row<SumOf>(sum[i]);
      shares[i] = 1.0F / total;
      const int row = work.rows.first + Scores::row(i);
      if (threadIdx.x % Scores::kLanes == 0 && row < work.rows.last) {
        lse[std::int64_t{work.sequence.queries.first + row} * shape.heads + work.head] =
            (max[i] + log2f(total)) * kLnOf2;
      }
    }
    return shares;
  }

 private:
  template <class Joined>
  __device__ static float over_row(float value) {
#pragma unroll
    for (int lanes = Scores::kLanes / 2; lanes > 0; lanes /= 2) {
      value = Joined::join(value, __shfl_xor_sync(0xffffffffU, value, lanes));
    }
    return value;
  }
};

// lse (to base two) and delta of a tile's queries, in shared memory.
template <int kQueries>
struct QueryNumbers {
  static constexpr int kFloats = 2 * kQueries;
  float* memory;  // [2, kQueries]
  __device__ float lse(int i) const { return memory[i]; }
  __device__ float delta(int i) const { return memory[kQueries + i]; }
  // Of the sequence's queries [first, last) and of one head; zero beyond them.
  __device__ void load(const FlashShape& shape, const float* lse, const float* delta, const Sequence& sequence,
                       int head, Range queries) const {
    for (int i = static_cast<int>(threadIdx.x); i < kQueries; i += static_cast<int>(blockDim.x)) {
      const bool inside = queries.first + i < queries.last;
      const std::int64_t at = std::int64_t{sequence.queries.first + queries.first + i} * shape.heads + head;
      memory[i] = inside ? lse[at] * kLog2OfE : 0.0F;
      memory[kQueries + i] = inside ? delta[at] : 0.0F;
    }
  }
};

// scores q . k -> p, and dp -> ds = p (dp - delta) scale; both 0 where row and column do not meet. The numbers are
// those of the columns' queries if kOfKeys, else of the rows'.
template <bool kOfKeys, class Scores, class Numbers>
__device__ void softmax_backward(const FlashShape& shape, const Work& work, Range columns, const Numbers& numbers,
                                 Scores& scores, Scores& dp) {
#pragma unroll
  for (int i = 0; i < Scores::kRowCount; ++i) {
#pragma unroll
    for (int j = 0; j < Scores::kColumnCount; ++j) {
      const int query = kOfKeys ? scores.column(j) : scores.row(i);
      const float p = exp2_approx(shape.scale * kLog2OfE * scores.at(i, j) - numbers.lse(query));
      scores.at(i, j) = p;
      dp.at(i, j) = p * (dp.at(i, j) - numbers.delta(query)) * shape.scale;
    }
  }
  if (nothing_to_hide<kOfKeys, Scores>(shape, work, columns)) return;
  hide<kOfKeys>(shape, work, columns, 0, scores);
  hide<kOfKeys>(shape, work, columns, 0, dp);
}

}  // namespace shardora::cuda
