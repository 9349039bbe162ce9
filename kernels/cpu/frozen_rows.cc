#include "kernels/cpu/frozen_rows.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/cpu.h"

namespace shardora::cpu {

void FrozenRows::gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const {
  const std::int64_t tokens = ids.size(0);
  SHARDORA_CHECK(y.shape == (Shape{tokens, in_}));
  const std::int32_t* const id = ids.as<std::int32_t>();
  float* const to = y.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t row = id[t] - first_row;
    if (row >= 0 && row < out_) {
      copy_row(row, to + t * in_);
    } else {
      std::fill_n(to + t * in_, in_, 0.0F);
    }
  }
}

void FrozenRows::read_rows(std::int64_t first, TensorView rows) const {
  const std::int64_t count = rows.size(0);
  SHARDORA_CHECK(first >= 0 && first + count <= out_ && rows.shape == (Shape{count, in_}));
  float* const to = rows.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t o = 0; o < count; ++o) copy_row(first + o, to + o * in_);
}

// The norms go through plain rows a few at a time: made once at load, so what counts is that all layouts give one sum.
static constexpr std::int64_t kNormRows = 64;

void FrozenRows::row_squared_norms(TensorView out) const {
  SHARDORA_CHECK(out.shape == Shape{out_});
  std::vector<float> buffer(static_cast<std::size_t>(kNormRows * in_));
  for (std::int64_t first = 0; first < out_; first += kNormRows) {
    const std::int64_t count = std::min(kNormRows, out_ - first);
    const TensorView rows{buffer.data(), DType::kF32, {count, in_}};
    read_rows(first, rows);
    cpu::row_squared_norms({.x = rows, .out = out.rows(first, count)});
  }
}

void FrozenRows::column_squared_norms(TensorView out) const {
  SHARDORA_CHECK(out.shape == Shape{in_});
  std::vector<double> sums(static_cast<std::size_t>(in_));
  std::vector<float> row(static_cast<std::size_t>(in_));
  for (std::int64_t o = 0; o < out_; ++o) {
    copy_row(o, row.data());
    for (std::size_t i = 0; i < row.size(); ++i) sums[i] += static_cast<double>(row[i]) * row[i];
  }
  float* const to = out.as<float>();
  for (std::size_t i = 0; i < sums.size(); ++i) to[i] = static_cast<float>(sums[i]);
}

}  // namespace shardora::cpu
