// Where packed sequences begin and how long they are, in the form that a fused library's graphs take; and lse between
// [tokens, heads] and [batch, heads, longest]. The offsets stand on the device and the host does not look at them.
#pragma once

#include "kernels/cuda/fused_rules.h"
#include "kernels/cuda/platform.h"

namespace shardora::cuda {

// Device memory, each of batch + 1 elements, but lengths: batch.
struct FusedOffsets {
  std::int32_t* lengths = nullptr;
  // The offsets in elements: of q and o, of k and v, of lse.
  std::int64_t *query_starts = nullptr, *key_starts = nullptr, *lse_starts = nullptr;
};

// From int32 [sequences + 1] in tokens. Places beyond the sequences are of length 0 and begin where the last one ends.
void write_fused_offsets(cudaStream_t stream, const FusedShape& shape, const std::int32_t* offsets,
                         std::int64_t sequences, const FusedOffsets& to);

// packed[t,h] = padded[s,h,i], t the i-th token of sequence s; and back, with 0 where a sequence has no token.
void pack_lse(cudaStream_t stream, const FusedShape& shape, const FusedOffsets& offsets, const float* padded,
              float* packed);
void pad_lse(cudaStream_t stream, const FusedShape& shape, const FusedOffsets& offsets, const float* packed,
             float* padded);

}  // namespace shardora::cuda
