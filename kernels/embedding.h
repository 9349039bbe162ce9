// Rows of a table by token id. A tensor rank may hold the rows [first_row, first_row + rows) of the logical table.
//
//   gather     y[t,:] = table[id[t] - first_row, :], zeros where this shard does not hold the id
//   scatter    dtable[id[t] - first_row, :] += dy[t,:] for the ids held here, in the order of t
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct EmbeddingGather {
  TensorView table;  // [rows, width], fp32; on CUDA bfloat16 as well
  TensorView ids;    // int32 [tokens]
  std::int64_t first_row = 0;
  TensorView y;  // [tokens, width], fp32; on CUDA bfloat16 as well, whatever the table's
};
void embedding_gather(Backend& backend, const EmbeddingGather& op);

struct EmbeddingScatter {
  TensorView dy;   // [tokens, width]
  TensorView ids;  // int32 [tokens]
  std::int64_t first_row = 0;
  TensorView dtable;  // [rows, width]
};
void embedding_scatter(Backend& backend, const EmbeddingScatter& op);

}  // namespace shardora
