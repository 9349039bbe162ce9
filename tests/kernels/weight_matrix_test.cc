// Weights, frozen and trainable, through the one interface that layers see: against float64 and against each other.
#include "kernels/weight_matrix.h"

#include <bit>
#include <cmath>
#include <limits>

#include "kernels/cpu/onednn.h"
#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

class Weight : public support::KernelTest {
 protected:
  struct Size {
    std::int64_t out, in;
  };
  const std::vector<Size> sizes_ = {{0, 17}, {17, 0}, {1, 1}, {1, 127}, {17, 17}, {127, 17}, {64, 200}, {257, 96}};

  // The same weight, frozen and trainable.
  std::vector<std::unique_ptr<WeightMatrix>> both(Size size, const Vector& w) {
    std::vector<std::unique_ptr<WeightMatrix>> weights;
    weights.push_back(frozen({.out_features = size.out, .in_features = size.in}, w));
    weights.push_back(std::make_unique<TrainableMatrix>(*backend_, floats({size.out, size.in}, w), TensorView{}));
    return weights;
  }

  std::unique_ptr<WeightMatrix> frozen(const FrozenMatrixPlan& plan, const Vector& w) {
    std::vector<float> host(w.begin(), w.end());
    return make_frozen_matrix(*backend_, plan, view_of(std::span<float>(host), {plan.out_features, plan.in_features}));
  }

  // Every 16-bit pattern of a half-width type, compared with its meaning.
  void expect_every_pattern(DType dtype, double (*meaning)(std::uint32_t));

  // Both products of `weight`, whose values are w, against float64.
  void expect_products(const WeightMatrix& weight, Size size, const Vector& w);

  // The result of product(y) where y holds NaN before (=) or `start` (+=).
  template <class Product>
  std::vector<float> result(Shape shape, bool accumulate, const Vector& start, const Product& product) {
    const Vector garbage(index(shape.elements()), std::numeric_limits<double>::quiet_NaN());
    const TensorView y = floats(shape, accumulate ? start : garbage);
    product(y);
    return read(y);
  }
};

// y[t,o] = start + sum_i x[t,i] w[o,i], or with w transposed y[t,i] = start + sum_o x[t,o] w[o,i].
Vector product(Vector y, const Vector& x, const Vector& w, std::int64_t tokens, std::int64_t out, std::int64_t in,
               bool forward) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t i = 0; i < in; ++i) {
        if (forward) y[index(t * out + o)] += x[index(t * in + i)] * w[index(o * in + i)];
        if (!forward) y[index(t * in + i)] += x[index(t * out + o)] * w[index(o * in + i)];
      }
    }
  }
  return y;
}

void Weight::expect_products(const WeightMatrix& weight, Size size, const Vector& w) {
  const auto [out, in] = size;
  for (const std::int64_t tokens : {0, 1, 17, 127}) {
    for (const bool accumulate : {false, true}) {
      SCOPED_TRACE(testing::Message() << out << "x" << in << ", " << tokens << " tokens, " << accumulate);
      const TensorView x = floats({tokens, in}, support::random_vector(tokens * in, 2));
      const TensorView du = floats({tokens, out}, support::random_vector(tokens * out, 3));
      const Vector y0 = accumulate ? support::random_vector(tokens * out, 4) : Vector(index(tokens * out));
      const Vector dx0 = accumulate ? support::random_vector(tokens * in, 5) : Vector(index(tokens * in));
      support::expect_close(
          result({tokens, out}, accumulate, y0, [&](TensorView y) { weight.forward(x, y, accumulate); }),
          product(y0, support::random_vector(tokens * in, 2), w, tokens, out, in, true), kFp32, "y");
      support::expect_close(
          result({tokens, in}, accumulate, dx0, [&](TensorView dx) { weight.input_gradient(du, dx, accumulate); }),
          product(dx0, support::random_vector(tokens * out, 3), w, tokens, out, in, false), kFp32, "dx");
    }
  }
}

TEST_F(Weight, ProductsOfBothDirectionsMatchFloat64) {
  for (const Size size : sizes_) {
    const Vector w = support::random_vector(size.out * size.in, 1);
    for (const auto& weight : both(size, w)) expect_products(*weight, size, w);
  }
}

TEST_F(Weight, ManyTokenCountsInTurnStayRight) {
  constexpr std::int64_t kOut = 17, kIn = 33;
  const Vector w = support::random_vector(kOut * kIn, 1);
  const auto weight = frozen({.out_features = kOut, .in_features = kIn}, w);
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t tokens = 1; tokens < 40; ++tokens) {
      const Vector x = support::random_vector(tokens * kIn, 2);
      const TensorView y = unwritten({tokens, kOut});
      weight->forward(floats({tokens, kIn}, x), y, false);
      support::expect_close(read(y), product(Vector(index(tokens * kOut)), x, w, tokens, kOut, kIn, true), kFp32, "y");
    }
  }
}

TEST_F(Weight, RowsComeBackAsTheyWereGiven) {
  for (const auto [out, in] : sizes_) {
    const Vector w = support::random_vector(out * in, 1);
    for (const auto& weight : both({out, in}, w)) {
      const std::int64_t first = out / 3;
      const TensorView rows = unwritten({out - first, in});
      weight->read_rows(first, rows);
      support::expect_close(read(rows), Vector(w.begin() + first * in, w.end()), 0, "rows");
    }
  }
}

TEST_F(Weight, GatheredRowsAreZeroWhereAnotherShardHoldsThem) {
  constexpr std::int64_t kOut = 17, kIn = 33, kFirst = 100;
  const Vector w = support::random_vector(kOut * kIn, 1);
  const std::vector<std::int64_t> ids = {100, 116, 99, 117, 0, 107, 107, 2000};
  for (const auto& weight : both({kOut, kIn}, w)) {
    const TensorView y = unwritten({static_cast<std::int64_t>(ids.size()), kIn});
    weight->gather_rows(ints(ids), kFirst, y);
    Vector expected;
    for (const std::int64_t id : ids) {
      for (std::int64_t i = 0; i < kIn; ++i) {
        expected.push_back(id >= kFirst && id < kFirst + kOut ? w[index((id - kFirst) * kIn + i)] : 0);
      }
    }
    support::expect_close(read(y), expected, 0, "rows");
  }
}

TEST_F(Weight, SquaredNormsMatchFloat64) {
  for (const auto [out, in] : sizes_) {
    const Vector w = support::random_vector(out * in, 1);
    Vector rows(index(out));
    Vector columns(index(in));
    for (std::int64_t i = 0; i < out * in; ++i) {
      rows[index(i / in)] += w[index(i)] * w[index(i)];
      columns[index(i % in)] += w[index(i)] * w[index(i)];
    }
    for (const auto& weight : both({out, in}, w)) {
      const TensorView row_norms = unwritten({out});
      const TensorView column_norms = unwritten({in});
      weight->row_squared_norms(row_norms);
      weight->column_squared_norms(column_norms);
      support::expect_close(read(row_norms), rows, 1e-7, "rows");
      support::expect_close(read(column_norms), columns, 1e-7, "columns");
    }
  }
}

TEST_F(Weight, FrozenHoldsOneCopyWhereBothDirectionsShareALayout) {
  const Vector w = support::random_vector(127 * 17, 1);
  const auto weight = frozen({.out_features = 127, .in_features = 17}, w);
  const auto forward_only = frozen({.out_features = 127, .in_features = 17, .for_backward = false}, w);
  const auto table = frozen({.out_features = 127, .in_features = 17, .for_forward = false, .for_backward = false}, w);
  const bool blocked =
      cpu::WeightLayout::preferred(2048, 17, 127).blocked() || cpu::WeightLayout::preferred(2048, 127, 17).blocked();
  if (!blocked) {
    EXPECT_EQ(weight->bytes(), 127 * 17 * 4);
  }
  EXPECT_EQ(table->bytes(), 127 * 17 * 4);
  EXPECT_GE(weight->bytes(), forward_only->bytes());
  EXPECT_ANY_THROW(forward_only->input_gradient(unwritten({1, 127}), unwritten({1, 17}), false));
}

TEST_F(Weight, FrozenInOneCopyServesBothDirections) {
  for (const Size size : sizes_) {
    for (const bool one_copy : {false, true}) {
      const FrozenMatrixPlan plan{
          .out_features = size.out, .in_features = size.in, .one_copy = one_copy, .backend = backend_->kind()};
      const Vector w = support::random_vector(size.out * size.in, 1);
      const auto weight = frozen(plan, w);
      EXPECT_EQ(weight->bytes(), frozen_matrix_bytes(plan));
      if (one_copy) {
        EXPECT_EQ(weight->bytes(), size.out * size.in * 4);
      }
      expect_products(*weight, size, w);
    }
  }
}

// The reference multiplies the rounded weights: what is left is fp32's own rounding.
TEST_F(Weight, FrozenInBfloat16GivesWhatTheRoundedWeightsGive) {
  std::vector<Size> sizes = sizes_;
  sizes.insert(sizes.end(), {{1030, 70}, {70, 1030}, {1024, 5}});
  for (const Size size : sizes) {
    const FrozenMatrixPlan plan{
        .out_features = size.out, .in_features = size.in, .storage = DType::kBF16, .backend = backend_->kind()};
    Vector w = support::random_vector(size.out * size.in, 1);
    const auto weight = frozen(plan, w);
    w = support::rounded_to_bf16(w);
    EXPECT_EQ(weight->bytes(), size.out * size.in * 2);
    EXPECT_EQ(weight->bytes(), frozen_matrix_bytes(plan));
    const TensorView rows = unwritten({size.out, size.in});
    weight->read_rows(0, rows);
    EXPECT_EQ(read(rows), std::vector<float>(w.begin(), w.end()));
    expect_products(*weight, size, w);
    Vector norms(index(size.out));
    for (std::int64_t i = 0; i < size.out * size.in; ++i) norms[index(i / size.in)] += w[index(i)] * w[index(i)];
    const TensorView squared = unwritten({size.out});
    weight->row_squared_norms(squared);
    support::expect_close(read(squared), norms, kFp32, "row norms");
  }
}

void Weight::expect_every_pattern(DType dtype, double (*meaning)(std::uint32_t)) {
  std::vector<std::uint16_t> bits(1 << 16);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const FrozenMatrixPlan plan{.out_features = 256, .in_features = 256};
  const auto weight = make_frozen_matrix(*backend_, plan, {bits.data(), dtype, {256, 256}});
  const TensorView device = unwritten({256, 256});
  weight->read_rows(0, device);
  const std::vector<float> rows = read(device);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const double expected = meaning(bits[i]);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(rows[i])) << i;
    } else {
      EXPECT_EQ(rows[i], expected) << i;
      EXPECT_EQ(std::signbit(rows[i]), std::signbit(expected)) << i;
    }
  }
}

// 24 bits of x, 8 of w: one product is exact but for the rounding at its end.
TEST_F(Weight, FrozenInBfloat16LosesNoBitOfFp32Activations) {
  const auto weight = frozen({.out_features = 1, .in_features = 1, .storage = DType::kBF16}, {1});
  Vector x = support::random_vector(1000, 6);
  for (const double special : {0x1.fffffep0, -0x1.fffffep0, 0x1.000002p-100, 0x1.0101p100, 0.0, 0x1p-126}) {
    x.push_back(special);
  }
  const TensorView y = unwritten({std::ssize(x), 1});
  weight->forward(floats({std::ssize(x), 1}, x), y, false);
  support::expect_close(read(y), x, 0, "y");
}

// More rows than a GPU splits at a time.
TEST_F(Weight, FrozenInBfloat16MultipliesManyRowsOfFp32) {
  constexpr std::int64_t kIn = 3001, kRows = 500;
  const Vector w = support::random_vector(kIn, 1), x = support::random_vector(kRows * kIn, 2);
  const auto weight = frozen({.out_features = 1, .in_features = kIn, .storage = DType::kBF16}, w);
  const Vector y0 = support::random_vector(kRows, 4);
  const TensorView y = floats({kRows, 1}, y0);
  weight->forward(floats({kRows, kIn}, x), y, true);
  support::expect_close(read(y), product(y0, x, support::rounded_to_bf16(w), kRows, 1, kIn, true), kFp32, "y");
}

// A weight that is converted in more than one piece.
TEST_F(Weight, FrozenInBfloat16RoundsEveryPieceOfALargeWeight) {
  constexpr std::int64_t kOut = 2100, kIn = 1003, kFirst = kOut - 30;
  const Vector w = support::random_vector(kOut * kIn, 1);
  const auto weight = frozen({.out_features = kOut, .in_features = kIn, .storage = DType::kBF16}, w);
  const TensorView last = unwritten({kOut - kFirst, kIn});
  weight->read_rows(kFirst, last);
  support::expect_close(read(last), support::rounded_to_bf16(Vector(w.begin() + kFirst * kIn, w.end())), 0, "rows");
}

// A frozen weight in bfloat16 under activations of either type.
class RoundedWeight : public support::ActivationTest {
 protected:
  std::unique_ptr<WeightMatrix> frozen(const FrozenMatrixPlan& plan, const Vector& w) {
    std::vector<float> host(w.begin(), w.end());
    return make_frozen_matrix(*backend_, plan, view_of(std::span<float>(host), {plan.out_features, plan.in_features}));
  }
  void compare(std::int64_t tokens, std::int64_t out, std::int64_t in, bool accumulate) {
    SCOPED_TRACE(testing::Message() << tokens << " tokens, " << out << "x" << in << (accumulate ? " +=" : " ="));
    const Vector w = support::rounded_to_bf16(support::random_vector(out * in, 1));
    const auto weight = frozen({.out_features = out, .in_features = in, .storage = DType::kBF16}, w);
    const Vector x = drawn(tokens * in, 2), du = drawn(tokens * out, 3);
    const Vector y0 = drawn(tokens * out, 4), dx0 = drawn(tokens * in, 5);
    const Vector y1 = product(accumulate ? y0 : Vector(y0.size()), x, w, tokens, out, in, true);
    const Vector dx1 = product(accumulate ? dx0 : Vector(dx0.size()), du, w, tokens, out, in, false);
    const auto check = [&](TensorView y, TensorView dx) {
      weight->forward(activations({tokens, in}, x), y, accumulate);
      weight->input_gradient(activations({tokens, out}, du), dx, accumulate);
      expect_output(y, y1, "y");
      expect_output(dx, dx1, "dx");
    };
    check(activations({tokens, out}, y0), activations({tokens, in}, dx0));
    if (narrow()) check(floats({tokens, out}, y0), floats({tokens, in}, dx0));
  }
};

TEST_P(RoundedWeight, ProductsMatchFloat64) {
  for (const std::int64_t tokens : {0, 1, 17}) {
    for (const bool accumulate : {false, true}) {
      compare(tokens, 17, 33, accumulate);
      compare(tokens, 64, 40, accumulate);
      compare(tokens, 1, 127, accumulate);
      compare(tokens, 0, 5, accumulate);
      compare(tokens, 5, 0, accumulate);
    }
  }
}

TEST_P(RoundedWeight, Bfloat16ActivationsOnAnFp32WeightAreRefused) {
  if (!narrow()) GTEST_SKIP() << "one type";
  const auto weight = frozen({.out_features = 3, .in_features = 5}, Vector(15, 1));
  EXPECT_ANY_THROW(weight->forward(unwritten_activations({2, 5}), unwritten({2, 3}), false));
}

SHARDORA_OVER_TYPES(RoundedWeight);

TEST_F(Weight, FrozenReadsEveryBfloat16) {
  expect_every_pattern(DType::kBF16,
                       [](std::uint32_t bits) { return static_cast<double>(std::bit_cast<float>(bits << 16)); });
}

TEST_F(Weight, FrozenReadsEveryFloat16) {
  expect_every_pattern(DType::kF16, [](std::uint32_t bits) {
    const double sign = (bits & 0x8000U) != 0 ? -1 : 1;
    const int exponent = static_cast<int>(bits >> 10 & 31U);
    const double fraction = bits & 1023U;
    if (exponent == 31) return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
    return exponent == 0 ? sign * std::ldexp(fraction, -24) : sign * std::ldexp(1024 + fraction, exponent - 25);
  });
}

// Larger than what a GPU's staging buffers hold, so that it comes in pieces there.
TEST_F(Weight, FrozenTakesItsRowsInOrderEachOnce) {
  constexpr std::int64_t kOut = 1300, kIn = 4100;  // some pieces of 8 MiB
  for (const bool on_device : {false, true}) {
    std::int64_t next = 0;
    std::vector<float> piece;
    const auto read_piece = [&](std::int64_t first, TensorView rows) {
      EXPECT_EQ(first, next);
      next += rows.size(0);
      piece.resize(index(rows.elements()));
      for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = static_cast<float>(first * kIn + static_cast<int>(i));
      if (on_device) {
        backend_->copy_from_host(rows, view_of(std::span(piece), rows.shape));
        backend_->synchronize();
      } else {
        std::copy(piece.begin(), piece.end(), rows.as<float>());
      }
    };
    const auto weight = make_frozen_matrix(*backend_, {.out_features = kOut, .in_features = kIn},
                                           MatrixRows{.on_device = on_device, .read = read_piece});
    EXPECT_EQ(next, kOut);
    const TensorView all = unwritten({kOut, kIn});
    weight->read_rows(0, all);
    const std::vector<float> values = read(all);
    std::int64_t wrong = 0;
    for (std::size_t i = 0; i < values.size(); ++i) wrong += values[i] != static_cast<float>(i) ? 1 : 0;
    EXPECT_EQ(wrong, 0);
  }
}

TEST_F(Weight, TrainableAddsItsGradientsUp) {
  constexpr std::int64_t kOut = 17, kIn = 33, kTokens = 127;
  const Vector start = support::random_vector(kOut * kIn, 1);
  const Vector dy = support::random_vector(kTokens * kOut, 2);
  const Vector x = support::random_vector(kTokens * kIn, 3);
  const TensorView dw = floats({kOut, kIn}, start);
  const TrainableMatrix weight(*backend_, floats({kOut, kIn}, start), dw);
  weight.weight_gradient(floats({kTokens, kOut}, dy), floats({kTokens, kIn}, x));
  Vector expected = start;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    for (std::int64_t o = 0; o < kOut; ++o) {
      for (std::int64_t i = 0; i < kIn; ++i) {
        expected[index(o * kIn + i)] += dy[index(t * kOut + o)] * x[index(t * kIn + i)];
      }
    }
  }
  support::expect_close(read(dw), expected, kFp32, "dW");
}

TEST_F(Weight, TrainableScattersRepeatedIdsAndSkipsForeignOnes) {
  constexpr std::int64_t kOut = 5, kIn = 130, kFirst = 10;
  const std::vector<std::int64_t> ids = {10, 14, 10, 9, 15, 10, 12};
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const Vector start = support::random_vector(kOut * kIn, 1);
  const Vector dy = support::random_vector(tokens * kIn, 2);
  const TensorView dw = floats({kOut, kIn}, start);
  TrainableMatrix(*backend_, floats({kOut, kIn}, start), dw).scatter_rows(ints(ids), kFirst, floats({tokens, kIn}, dy));
  Vector expected = start;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t row = ids[index(t)] - kFirst;
    if (row < 0 || row >= kOut) continue;
    for (std::int64_t i = 0; i < kIn; ++i) expected[index(row * kIn + i)] += dy[index(t * kIn + i)];
  }
  support::expect_close(read(dw), expected, kFp32, "dW");
}

}  // namespace
}  // namespace shardora
