// Sums over tokens, column by column, in two passes of fixed order and without atomics: blocks of rows write their part
// into the workspace, [parts, width], and add_column_parts() joins the parts.
#pragma once

#include "kernels/cuda/cuda_backend.h"

namespace shardora::cuda {

// How many parts the rows are cut into: enough to fill the device, few enough for the workspace.
struct RowParts {
  std::int64_t parts = 0, rows_each = 0;
};
RowParts row_parts(std::int64_t rows, std::int64_t width);

// out[j] += sum over p of parts[p,j].
void add_column_parts(Backend& backend, const float* parts, std::int64_t count, std::int64_t width, float* out);

}  // namespace shardora::cuda
