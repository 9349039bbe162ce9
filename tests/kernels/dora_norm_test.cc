// The norm of W + s*B*A, from its factors and directly, against the matrix built in float64.
#include "kernels/dora.h"
#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

// A weight with its adapter in float64, and what the contracts call for, by plain loops.
struct Layer {
  std::int64_t out, in, rank;
  double s;
  Vector w, b, a;

  double w_at(std::int64_t i, std::int64_t j) const { return w[index(i * in + j)]; }
  double b_at(std::int64_t i, std::int64_t k) const { return b[index(i * rank + k)]; }
  double a_at(std::int64_t k, std::int64_t j) const { return a[index(k * in + j)]; }
  double direction(std::int64_t i, std::int64_t j) const {
    double value = w_at(i, j);
    for (std::int64_t k = 0; k < rank; ++k) value += s * b_at(i, k) * a_at(k, j);
    return value;
  }
  Vector row_squares() const {
    Vector squares(index(out));
    for (std::int64_t i = 0; i < out; ++i) {
      for (std::int64_t j = 0; j < in; ++j) squares[index(i)] += direction(i, j) * direction(i, j);
    }
    return squares;
  }
  Vector column_squares() const {
    Vector squares(index(in));
    for (std::int64_t i = 0; i < out; ++i) {
      for (std::int64_t j = 0; j < in; ++j) squares[index(j)] += direction(i, j) * direction(i, j);
    }
    return squares;
  }
};

Layer make_layer(std::int64_t out, std::int64_t in, std::int64_t rank) {
  return {.out = out,
          .in = in,
          .rank = rank,
          .s = 0.75,
          .w = support::random_vector(out * in, 1),
          .b = support::random_vector(out * rank, 2),
          .a = support::random_vector(rank * in, 3)};
}

struct Factors {
  Vector w, x, y, z;  // as LowRankNorm wants them
  std::int64_t width;
};

// Output axis: x = B^T, y = A W^T, z = (A A^T) B^T.
Factors output_axis(const Layer& layer) {
  Factors f{.width = layer.out};
  const auto size = index(layer.rank * layer.out);
  f.x.resize(size), f.y.resize(size), f.z.resize(size), f.w.resize(index(layer.out));
  for (std::int64_t i = 0; i < layer.out; ++i) {
    for (std::int64_t j = 0; j < layer.in; ++j) f.w[index(i)] += layer.w_at(i, j) * layer.w_at(i, j);
    for (std::int64_t k = 0; k < layer.rank; ++k) {
      const std::size_t at = index(k * layer.out + i);
      f.x[at] = layer.b_at(i, k);
      for (std::int64_t j = 0; j < layer.in; ++j) {
        double adapter = 0;
        for (std::int64_t l = 0; l < layer.rank; ++l) adapter += layer.b_at(i, l) * layer.a_at(l, j);
        f.y[at] += layer.a_at(k, j) * layer.w_at(i, j);
        f.z[at] += layer.a_at(k, j) * adapter;
      }
    }
  }
  return f;
}

// Input axis: x = A, y = B^T W, z = (B^T B) A.
Factors input_axis(const Layer& layer) {
  Factors f{.x = layer.a, .width = layer.in};
  f.y.resize(f.x.size()), f.z.resize(f.x.size()), f.w.resize(index(layer.in));
  for (std::int64_t j = 0; j < layer.in; ++j) {
    for (std::int64_t i = 0; i < layer.out; ++i) f.w[index(j)] += layer.w_at(i, j) * layer.w_at(i, j);
    for (std::int64_t k = 0; k < layer.rank; ++k) {
      const std::size_t at = index(k * layer.in + j);
      for (std::int64_t i = 0; i < layer.out; ++i) {
        double adapter = 0;
        for (std::int64_t l = 0; l < layer.rank; ++l) adapter += layer.b_at(i, l) * layer.a_at(l, j);
        f.y[at] += layer.b_at(i, k) * layer.w_at(i, j);
        f.z[at] += layer.b_at(i, k) * adapter;
      }
    }
  }
  return f;
}

class DoraNorm : public support::KernelTest {
 protected:
  struct Result {
    std::vector<float> squared, reference;
  };
  Result low_rank(const Layer& layer, const Factors& f) {
    const Shape shape{layer.rank, f.width};
    const LowRankNorm op{.squared_weight = floats(f.w),
                         .x = floats(shape, f.x),
                         .y = floats(shape, f.y),
                         .z = floats(shape, f.z),
                         .scale = static_cast<float>(layer.s),
                         .squared = unwritten({f.width}),
                         .reference = unwritten({f.width})};
    low_rank_norm(*backend_, op);
    return {read(op.squared), read(op.reference)};
  }
  DirectNorm direct(const Layer& layer) {
    return {.w = floats({layer.out, layer.in}, layer.w),
            .b = floats({layer.out, layer.rank}, layer.b),
            .a = floats({layer.rank, layer.in}, layer.a),
            .scale = static_cast<float>(layer.s)};
  }
};

struct NormOfSumCase {
  std::int64_t out, in, rank;
};
const NormOfSumCase kNormOfSumCases[] = {{1, 1, 1}, {17, 127, 3}, {127, 17, 8}, {300, 150, 4}, {17, 19, 0}};

TEST_F(DoraNorm, FactoredNormMatchesTheBuiltMatrixOnBothAxes) {
  for (const auto& [out, in, rank] : kNormOfSumCases) {
    const Layer layer = make_layer(out, in, rank);
    support::expect_close(low_rank(layer, output_axis(layer)).squared, layer.row_squares(), kFp32, "output axis");
    support::expect_close(low_rank(layer, input_axis(layer)).squared, layer.column_squares(), kFp32, "input axis");
  }
}

TEST_F(DoraNorm, ReferenceIsTheSumOfThePositiveTerms) {
  const Layer layer = make_layer(17, 127, 3);
  const Factors f = output_axis(layer);
  Vector expected = f.w;
  for (std::size_t i = 0; i < f.x.size(); ++i) expected[i % 17] += layer.s * layer.s * f.x[i] * f.z[i];
  support::expect_close(low_rank(layer, f).reference, expected, kFp32, "reference");
}

TEST_F(DoraNorm, PartsOfAShardedSumAddToTheWhole) {
  const Layer layer = make_layer(17, 127, 3);
  Vector squared(17);
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 40}, {40, 1}, {41, 86}}) {
    Layer shard{.out = 17, .in = count, .rank = 3, .s = layer.s, .w = {}, .b = layer.b, .a = {}};
    for (std::int64_t i = 0; i < 17; ++i) {
      for (std::int64_t j = 0; j < count; ++j) shard.w.push_back(layer.w_at(i, first + j));
    }
    for (std::int64_t k = 0; k < 3; ++k) {
      for (std::int64_t j = 0; j < count; ++j) shard.a.push_back(layer.a_at(k, first + j));
    }
    const std::vector<float> part = low_rank(shard, output_axis(shard)).squared;
    for (std::size_t i = 0; i < squared.size(); ++i) squared[i] += part[i];
  }
  support::expect_close(std::vector<float>(squared.begin(), squared.end()), layer.row_squares(), kFp32, "sum");
}

// Rows 3 and 5 are s*B*A turned round, up to one part in a thousand.
Layer nearly_cancelling() {
  Layer layer = make_layer(17, 127, 3);
  for (const std::int64_t row : {3, 5}) {
    for (std::int64_t j = 0; j < layer.in; ++j) {
      const double adapter = layer.direction(row, j) - layer.w_at(row, j);
      layer.w[index(row * layer.in + j)] = static_cast<float>(-adapter * (1 + 1e-3 * std::sin(static_cast<double>(j))));
    }
  }
  return layer;
}

TEST_F(DoraNorm, NearlyCancellingRowsAreFlaggedAndTheDirectNormIsRight) {
  const Layer layer = nearly_cancelling();
  const Result factored = low_rank(layer, output_axis(layer));
  for (std::size_t i = 0; i < 17; ++i) {
    EXPECT_EQ(factored.squared[i] < factored.reference[i] / 16, i == 3 || i == 5) << "row " << i;
  }
  DirectNorm op = direct(layer);
  Vector squares(17, 1e30);
  op.out = view_of(std::span(squares), {17});
  direct_row_norms(*backend_, op);
  const Vector expected = layer.row_squares();
  for (std::size_t i = 0; i < 17; ++i) EXPECT_NEAR(squares[i] / expected[i], 1, 1e-10) << "row " << i;
}

TEST_F(DoraNorm, DirectRowNormsMatchAtOddSizes) {
  for (const auto& [out, in, rank] : kNormOfSumCases) {
    const Layer layer = make_layer(out, in, rank);
    DirectNorm op = direct(layer);
    Vector squares(index(out), 1e30);
    op.out = view_of(std::span(squares), {out});
    direct_row_norms(*backend_, op);
    support::expect_close(squares, layer.row_squares(), 1e-12, "row norms");
  }
}

TEST_F(DoraNorm, DirectColumnNormsAddUpOverTilesOfRows) {
  const Layer layer = make_layer(127, 17, 3);
  std::vector<std::int32_t> columns{0, 5, 16};
  const DirectNorm whole = direct(layer);
  Vector squares(3);
  for (const auto& [first, count] : {std::pair<std::int64_t, std::int64_t>{0, 50}, {50, 77}, {127, 0}}) {
    DirectNorm tile = whole;
    tile.w = whole.w.rows(first, count);
    tile.b = whole.b.rows(first, count);
    tile.columns = view_of(std::span(columns), {3});
    tile.out = view_of(std::span(squares), {3});
    direct_column_norms(*backend_, tile);
  }
  const Vector all = layer.column_squares();
  support::expect_close(squares, {all[0], all[5], all[16]}, 1e-12, "column norms");
}

TEST_F(DoraNorm, NormFromSquareClampsNegativesAndKeepsNotANumber) {
  const TensorView both = floats({4, 0, -1e-9, std::nan(""), 1e-40});
  norm_from_square(*backend_, {.squared = both, .norm = both});
  const std::vector<float> norm = read(both);
  EXPECT_EQ(norm[0], 2);
  EXPECT_EQ(norm[1], 0);
  EXPECT_EQ(norm[2], 0);
  EXPECT_TRUE(std::isnan(norm[3]));
  EXPECT_NEAR(norm[4], 1e-20, 1e-24);
}

}  // namespace
}  // namespace shardora
