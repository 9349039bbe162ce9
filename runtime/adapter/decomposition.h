// How a layer's weight has changed, as magnitudes and directions of its vectors (math: section 8; arXiv 2402.09353,
// section 3.2):
//
//   dM = mean_j |m_t[j] - m_0[j]|         m: norms of the vectors along the magnitude axis (rows, or columns)
//   dD = mean_j (1 - cos(V_t[j], W_0[j]))
//
// A vector of zeros has no direction: it adds nothing to dD.
#pragma once

#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace shardora {

struct WeightChange {
  double magnitude = 0;       // dM
  double direction = 0;       // dD
  double base_magnitude = 0;  // mean_j m_0[j]
};

// Takes a weight and its base a block of rows at a time; all sums are float64.
class Decomposition {
 public:
  // The weight is [out, in], its vectors are rows (`by_rows`) or columns.
  Decomposition(std::int64_t out, std::int64_t in, bool by_rows);
  // Rows from `first` on of both, fp32 [count, in]; every row once.
  void add(std::int64_t first, TensorView base, TensorView tuned);
  WeightChange result() const;
  // With the norms of W' = (m/n) V given instead of those of V: DoRA's own m.
  WeightChange result(std::span<const float> magnitudes) const;

 private:
  double tuned_norm(std::size_t vector) const;
  template <class Norm>
  WeightChange changed(const Norm& norm) const;

  bool by_rows_;
  std::vector<double> base_squared_, tuned_squared_, products_;  // by vector
};

// The line through points (x, y): how far they lie on one, and how steep it is. Not a number where there is none:
// fewer than two points, or all of one x (or, for the correlation, one y).
struct Trend {
  double correlation = 0;  // Pearson's
  double slope = 0;        // dy / dx, least squares
};
Trend trend(std::span<const double> x, std::span<const double> y);

}  // namespace shardora
