#include "runtime/adapter/decomposition.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace shardora {
namespace {

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

Decomposition::Decomposition(std::int64_t out, std::int64_t in, bool by_rows)
    : by_rows_(by_rows), base_squared_(static_cast<std::size_t>(by_rows ? out : in)) {
  tuned_squared_ = products_ = base_squared_;
}

void Decomposition::add(std::int64_t first, TensorView base, TensorView tuned) {
  SHARDORA_CHECK(base.shape == tuned.shape);
  for (std::int64_t o = 0; o < base.size(0); ++o) {
    const std::span<const float> w = base.rows(o, 1).span<float>(), v = tuned.rows(o, 1).span<float>();
    for (std::size_t i = 0; i < w.size(); ++i) {
      const std::size_t vector = by_rows_ ? static_cast<std::size_t>(first + o) : i;
      const double from = w[i], to = v[i];
      base_squared_[vector] += from * from;
      tuned_squared_[vector] += to * to;
      products_[vector] += from * to;
    }
  }
}

double Decomposition::tuned_norm(std::size_t vector) const { return std::sqrt(tuned_squared_[vector]); }

WeightChange Decomposition::result() const {
  return changed([&](std::size_t vector) { return tuned_norm(vector); });
}

WeightChange Decomposition::result(std::span<const float> magnitudes) const {
  SHARDORA_CHECK(magnitudes.size() == base_squared_.size());
  return changed([&](std::size_t vector) {  // of zeros, m / n^ makes zeros
    return tuned_squared_[vector] > 0 ? std::abs(static_cast<double>(magnitudes[vector])) : 0.0;
  });
}

template <class Norm>
WeightChange Decomposition::changed(const Norm& norm) const {
  WeightChange sums;
  for (std::size_t j = 0; j < base_squared_.size(); ++j) {
    const double base_norm = std::sqrt(base_squared_[j]);
    sums.base_magnitude += base_norm;
    sums.magnitude += std::abs(norm(j) - base_norm);
    const double lengths = std::sqrt(base_squared_[j] * tuned_squared_[j]);  // exact where nothing has changed
    if (lengths > 0) sums.direction += std::max(0.0, 1 - products_[j] / lengths);
  }
  const auto vectors = static_cast<double>(base_squared_.size());
  return {sums.magnitude / vectors, sums.direction / vectors, sums.base_magnitude / vectors};
}

Trend trend(std::span<const double> x, std::span<const double> y) {
  SHARDORA_CHECK(x.size() == y.size());
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (x.size() < 2) return {kNone, kNone};
  const double mean_x = mean(x), mean_y = mean(y);
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return {xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNone, xx > 0 ? xy / xx : kNone};
}

}  // namespace shardora
