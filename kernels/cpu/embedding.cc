// Table look-ups by token id, and their gradient.
#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/cpu/cpu.h"

namespace shardora::cpu {

void embedding_gather(const EmbeddingGather& op) {
  const std::int64_t tokens = op.ids.size(0);
  const std::int64_t rows = op.table.size(0);
  const std::int64_t width = op.table.size(1);
  SHARDORA_CHECK(op.y.shape == (Shape{tokens, width}));
  const std::int32_t* const ids = op.ids.as<std::int32_t>();
  const float* const table = op.table.as<float>();
  float* const y = op.y.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t row = ids[t] - op.first_row;
    if (row >= 0 && row < rows) {
      std::copy_n(table + row * width, width, y + t * width);
    } else {
      std::fill_n(y + t * width, width, 0.0F);
    }
  }
}

// Threads share the columns, not the tokens: two tokens of one id meet in one row, and their order must not vary.
void embedding_scatter(const EmbeddingScatter& op) {
  const std::int64_t tokens = op.ids.size(0);
  const std::int64_t rows = op.dtable.size(0);
  const std::int64_t width = op.dtable.size(1);
  SHARDORA_CHECK(op.dy.shape == (Shape{tokens, width}));
  constexpr std::int64_t kColumns = 64;
  const std::int32_t* const ids = op.ids.as<std::int32_t>();
  const float* const dy = op.dy.as<float>();
  float* const dtable = op.dtable.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t first = 0; first < width; first += kColumns) {
    const std::int64_t last = std::min(width, first + kColumns);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::int64_t row = ids[t] - op.first_row;
      if (row < 0 || row >= rows) continue;
      for (std::int64_t j = first; j < last; ++j) dtable[row * width + j] += dy[t * width + j];
    }
  }
}

}  // namespace shardora::cpu
