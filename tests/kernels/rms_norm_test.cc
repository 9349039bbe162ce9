// RMSNorm against float64, its backward against the formula and against finite differences. Rows narrow as a head and
// wide, and some that are no whole number of 16 bytes.
#include "kernels/rms_norm.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;
constexpr double kEpsilon = 1e-5F;

struct Normed {
  Vector y, rstd;
};

Normed normed(const Vector& x, const Vector& weight) {
  const std::size_t width = weight.size();
  Normed result{x, {}};
  for (std::size_t t = 0; t < x.size() / width; ++t) {
    double squares = 0;
    for (std::size_t j = 0; j < width; ++j) squares += x[t * width + j] * x[t * width + j];
    result.rstd.push_back(1 / std::sqrt(squares / static_cast<double>(width) + kEpsilon));
    for (std::size_t j = 0; j < width; ++j) result.y[t * width + j] = weight[j] * x[t * width + j] * result.rstd[t];
  }
  return result;
}

// dx and sum_t dy x rstd, as kernels/rms_norm.h has them.
struct Gradients {
  Vector dx, dweight;
};
Gradients gradients(const Vector& x, const Vector& weight, const Vector& dy, const Vector& rstd) {
  const std::size_t width = weight.size();
  Gradients result{Vector(x.size()), Vector(width)};
  for (std::size_t t = 0; t < rstd.size(); ++t) {
    double mean = 0;
    for (std::size_t j = 0; j < width; ++j) {
      const std::size_t i = t * width + j;
      mean += dy[i] * weight[j] * x[i] / static_cast<double>(width);
      result.dweight[j] += dy[i] * x[i] * rstd[t];
    }
    for (std::size_t j = 0; j < width; ++j) {
      const std::size_t i = t * width + j;
      result.dx[i] = rstd[t] * (dy[i] * weight[j] - x[i] * rstd[t] * rstd[t] * mean);
    }
  }
  return result;
}

struct NormCase {
  std::int64_t rows, width;
};
const NormCase kNormCases[] = {{0, 17},   {1, 1},   {1, 127},  {17, 17}, {127, 64},
                               {33, 128}, {9, 320}, {3, 2056}, {3, 2049}};

class RmsNorm : public support::ActivationTest {};

TEST_P(RmsNorm, ForwardMatchesFloat64AtOddSizes) {
  for (const auto& [rows, width] : kNormCases) {
    const Vector x = drawn(rows * width, 1), weight = support::random_vector(width, 2);
    const TensorView y = unwritten_activations({rows, width}), rstd = unwritten({rows});
    rms_norm_forward(*backend_, {.x = activations({rows, width}, x), .weight = floats(weight), .y = y, .rstd = rstd});
    const Normed expected = normed(x, weight);
    expect_output(y, expected.y, "y");
    expect_output(rstd, expected.rstd, "rstd");
  }
}

TEST_P(RmsNorm, ForwardInPlaceGivesTheSameBits) {
  for (const std::int64_t width : {127, 128}) {
    const Vector x = support::random_vector(17 * width, 3);
    const TensorView weight = floats(support::random_vector(width, 4)), rstd = unwritten({17});
    const TensorView apart = unwritten_activations({17, width}), both = activations({17, width}, x);
    rms_norm_forward(*backend_, {.x = activations({17, width}, x), .weight = weight, .y = apart, .rstd = rstd});
    rms_norm_forward(*backend_, {.x = both, .weight = weight, .y = both, .rstd = rstd});
    EXPECT_EQ(read(both), read(apart));
  }
}

TEST_P(RmsNorm, RowOfZerosStaysFinite) {
  const TensorView y = unwritten_activations({1, 17}), rstd = unwritten({1});
  rms_norm_forward(*backend_,
                   {.x = activations({1, 17}, Vector(17)), .weight = floats(Vector(17, 2)), .y = y, .rstd = rstd});
  EXPECT_EQ(read(y), std::vector<float>(17));
  support::expect_close(read(rstd), {1 / std::sqrt(kEpsilon)}, kFp32, "rstd");
}

TEST_P(RmsNorm, BackwardMatchesFloat64AtOddSizes) {
  for (const auto& [rows, width] : kNormCases) {
    const Vector x = drawn(rows * width, 5), weight = support::random_vector(width, 6), dy = drawn(rows * width, 7);
    const Vector dx_before = drawn(rows * width, 3), dweight_before = support::random_vector(width, 8);
    const Vector rstd = normed(x, weight).rstd;
    for (const bool accumulate : {false, true}) {
      const TensorView dx = activations({rows, width}, dx_before), dweight = floats(dweight_before);
      rms_norm_backward(*backend_, {.dy = activations({rows, width}, dy),
                                    .x = activations({rows, width}, x),
                                    .weight = floats(weight),
                                    .rstd = floats(rstd),
                                    .dx = dx,
                                    .accumulate = accumulate,
                                    .dweight = dweight});
      auto [expected_dx, expected_dweight] = gradients(x, weight, dy, rstd);
      for (std::size_t i = 0; accumulate && i < expected_dx.size(); ++i) expected_dx[i] += dx_before[i];
      for (std::size_t j = 0; j < expected_dweight.size(); ++j) expected_dweight[j] += dweight_before[j];
      expect_output(dx, expected_dx, "dx", 1);  // width 1: dx is all but 0
      expect_output(dweight, expected_dweight, "dweight");
    }
  }
}

// Row by row: rows are independent, and a difference over all of them would take minutes.
TEST(RmsNormFormula, GradientsAreFiniteDifferences) {
  for (const std::int64_t width : {1, 17, 127}) {
    const Vector x = support::random_vector(width, 5), dy = support::random_vector(width, 7);
    const Vector weight = support::random_vector(width, 6);
    const auto loss = [&](const Vector& at_x, const Vector& at_weight) {
      return support::dot(normed(at_x, at_weight).y, dy);
    };
    const Gradients found = gradients(x, weight, dy, normed(x, weight).rstd);
    support::expect_close(found.dx, support::finite_difference([&](const Vector& at) { return loss(at, weight); }, x),
                          1e-7, "dx", 1);
    support::expect_close(found.dweight,
                          support::finite_difference([&](const Vector& at) { return loss(x, at); }, weight), 1e-7,
                          "dweight");
  }
}

TEST_P(RmsNorm, BackwardWorksInPlace) {
  const std::int64_t rows = 17;
  const std::int64_t width = 127;
  const Vector x = drawn(rows * width, 9);
  const Vector weight = support::random_vector(width, 10);
  const TensorView dy = activations({rows, width}, drawn(rows * width, 12));
  RmsNormBackward op{.dy = dy,
                     .x = activations({rows, width}, x),
                     .weight = floats(weight),
                     .rstd = floats(normed(x, weight).rstd),
                     .dx = unwritten_activations({rows, width})};
  rms_norm_backward(*backend_, op);
  const std::vector<float> written = read(op.dx);

  // With a weight gradient that must still see dy.
  op.dx = unwritten_activations({rows, width});
  op.dweight = floats(Vector(index(width)));
  rms_norm_backward(*backend_, op);
  const std::vector<float> dweight = read(op.dweight);
  op.dx = dy;
  op.dweight = floats(Vector(index(width)));
  rms_norm_backward(*backend_, op);
  EXPECT_EQ(read(dy), written);
  EXPECT_EQ(read(op.dweight), dweight);
}

TEST_P(RmsNorm, NotANumberIsNeverHidden) {
  Vector x = support::random_vector(2 * 17, 13);
  x[20] = std::nan("");
  const TensorView y = unwritten_activations({2, 17});
  rms_norm_forward(*backend_,
                   {.x = activations({2, 17}, x), .weight = floats(Vector(17, 1)), .y = y, .rstd = unwritten({2})});
  const std::vector<float> values = read(y);
  for (std::size_t j = 0; j < 17; ++j) {
    EXPECT_FALSE(std::isnan(values[j]));
    EXPECT_TRUE(std::isnan(values[17 + j]));
  }
}

SHARDORA_OVER_TYPES(RmsNorm);

}  // namespace
}  // namespace shardora
