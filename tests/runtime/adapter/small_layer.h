// One adapted layer of random values, and the same in float64 without a line of the program's: V = W + s B A and its
// norms, straight from math.md.
#pragma once

#include "runtime/adapter/folded_modules.h"
#include "tests/support/random_tensor.h"

namespace shardora::testing {

using support::index;
using support::Vector;

inline std::vector<float> floats(const Vector& values) { return {values.begin(), values.end()}; }

struct SmallLayer {
  static constexpr std::int64_t kOut = 7, kIn = 5, kRank = 3;
  static constexpr double kScale = 0.75;
  Vector weight = support::random_vector(kOut * kIn, 1), a = support::random_vector(kRank * kIn, 2),
         b = support::random_vector(kOut * kRank, 3);
  Vector magnitude;  // by axis
  bool output_axis;
  std::vector<float> a_floats = floats(a), b_floats = floats(b), magnitude_floats;

  explicit SmallLayer(bool by_output, bool dora = true) : output_axis(by_output) {
    if (dora) magnitude = support::random_vector(output_axis ? kOut : kIn, 4, 0.5, 3.0);
    magnitude_floats = floats(magnitude);
  }

  FoldedModule module() const {
    return {.out = kOut,
            .in = kIn,
            .rank = kRank,
            .a = a_floats,
            .b = b_floats,
            .magnitude = magnitude_floats,
            .scale = static_cast<float>(kScale),
            .output_axis = output_axis};
  }

  Vector direction() const {  // V
    Vector v = weight;
    for (std::int64_t o = 0; o < kOut; ++o) {
      for (std::int64_t i = 0; i < kIn; ++i) {
        for (std::int64_t k = 0; k < kRank; ++k) {
          v[index(o * kIn + i)] += kScale * b[index(o * kRank + k)] * a[index(k * kIn + i)];
        }
      }
    }
    return v;
  }

  // The vectors along the axis: row o, or column i.
  std::size_t vector_of(std::int64_t o, std::int64_t i) const { return index(output_axis ? o : i); }
  std::int64_t vectors() const { return output_axis ? kOut : kIn; }

  // Sums over each vector of x.y.
  Vector products(const Vector& x, const Vector& y) const {
    Vector sums(index(vectors()), 0.0);
    for (std::int64_t o = 0; o < kOut; ++o) {
      for (std::int64_t i = 0; i < kIn; ++i) sums[vector_of(o, i)] += x[index(o * kIn + i)] * y[index(o * kIn + i)];
    }
    return sums;
  }

  Vector merged() const {  // W'
    Vector v = direction();
    if (magnitude.empty()) return v;
    const Vector squares = products(v, v);
    for (std::int64_t o = 0; o < kOut; ++o) {
      for (std::int64_t i = 0; i < kIn; ++i) {
        const std::size_t j = vector_of(o, i);
        v[index(o * kIn + i)] *= magnitude[j] / std::sqrt(squares[j]);
      }
    }
    return v;
  }
};

}  // namespace shardora::testing
