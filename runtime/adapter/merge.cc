#include "runtime/adapter/merge.h"

#include <algorithm>
#include <cmath>

namespace shardora {
namespace {

float gain(float magnitude, double squared_norm) {
  return magnitude / std::max(static_cast<float>(std::sqrt(squared_norm)), 1e-12F);
}

// Four sums side by side: one alone would wait for each addition to end.
double squared_norm(std::span<const float> row) {
  double sums[4] = {0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + 4 <= row.size(); i += 4) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      const auto value = static_cast<double>(row[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (; i < row.size(); ++i) sums[0] += static_cast<double>(row[i]) * static_cast<double>(row[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void LayerMerge::measure(std::int64_t first, TensorView rows) {
  add_low_rank(backend_, module_, first, rows);
  squared_columns_.resize(static_cast<std::size_t>(module_.in));
  for (std::int64_t o = 0; o < rows.size(0); ++o) {
    const std::span<const float> row = rows.rows(o, 1).span<float>();
    for (std::size_t i = 0; i < row.size(); ++i) {
      squared_columns_[i] += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    }
  }
}

void LayerMerge::fold(std::int64_t first, TensorView rows) {
  add_low_rank(backend_, module_, first, rows);
  if (module_.magnitude.empty()) return;
  if (needs_measuring() && column_gains_.empty()) {
    for (std::size_t i = 0; i < squared_columns_.size(); ++i) {
      column_gains_.push_back(gain(module_.magnitude[i], squared_columns_[i]));
    }
  }
  for (std::int64_t o = 0; o < rows.size(0); ++o) {
    const std::span<float> row = rows.rows(o, 1).span<float>();
    if (module_.output_axis) {
      const float of_row = gain(module_.magnitude[static_cast<std::size_t>(first + o)], squared_norm(row));
      for (float& value : row) value *= of_row;
    } else {
      for (std::size_t i = 0; i < row.size(); ++i) row[i] *= column_gains_[i];
    }
  }
}

}  // namespace shardora
