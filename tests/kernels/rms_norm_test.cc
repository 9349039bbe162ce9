// RMSNorm against float64, its backward against finite differences.
#include "kernels/rms_norm.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;
constexpr double kEpsilon = 1e-5F;

struct Reference {
  Vector y, rstd;
};

Reference reference(const Vector& x, const Vector& weight) {
  const std::size_t width = weight.size();
  Reference result{x, {}};
  for (std::size_t t = 0; t < x.size() / width; ++t) {
    double squares = 0;
    for (std::size_t j = 0; j < width; ++j) squares += x[t * width + j] * x[t * width + j];
    result.rstd.push_back(1 / std::sqrt(squares / static_cast<double>(width) + kEpsilon));
    for (std::size_t j = 0; j < width; ++j) result.y[t * width + j] = weight[j] * x[t * width + j] * result.rstd[t];
  }
  return result;
}

struct NormCase {
  std::int64_t rows, width;
};
const NormCase kNormCases[] = {{0, 17}, {1, 1}, {1, 127}, {17, 17}, {127, 64}, {3, 2049}};

class RmsNorm : public support::KernelTest {};

TEST_F(RmsNorm, ForwardMatchesFloat64AtOddSizes) {
  for (const auto& [rows, width] : kNormCases) {
    const Vector x = support::random_vector(rows * width, 1);
    const Vector weight = support::random_vector(width, 2);
    const TensorView y = unwritten({rows, width});
    const TensorView rstd = unwritten({rows});
    rms_norm_forward(*backend_, {.x = floats({rows, width}, x), .weight = floats(weight), .y = y, .rstd = rstd});
    const Reference expected = reference(x, weight);
    support::expect_close(read(y), expected.y, kFp32, "y");
    support::expect_close(read(rstd), expected.rstd, kFp32, "rstd");
  }
}

TEST_F(RmsNorm, ForwardInPlaceGivesTheSameBits) {
  const Vector x = support::random_vector(17 * 127, 3);
  const TensorView weight = floats(support::random_vector(127, 4));
  const TensorView apart = unwritten({17, 127});
  const TensorView both = floats({17, 127}, x);
  const TensorView rstd = unwritten({17});
  rms_norm_forward(*backend_, {.x = floats({17, 127}, x), .weight = weight, .y = apart, .rstd = rstd});
  rms_norm_forward(*backend_, {.x = both, .weight = weight, .y = both, .rstd = rstd});
  EXPECT_EQ(read(both), read(apart));
}

TEST_F(RmsNorm, RowOfZerosStaysFinite) {
  const TensorView y = unwritten({1, 17});
  const TensorView rstd = unwritten({1});
  rms_norm_forward(*backend_,
                   {.x = floats({1, 17}, Vector(17)), .weight = floats(Vector(17, 2)), .y = y, .rstd = rstd});
  EXPECT_EQ(read(y), std::vector<float>(17));
  support::expect_close(read(rstd), {1 / std::sqrt(kEpsilon)}, kFp32, "rstd");
}

TEST_F(RmsNorm, BackwardMatchesFiniteDifferences) {
  for (const auto& [rows, width] : kNormCases) {
    if (width > 200) continue;  // differences cost rows * width references
    const Vector x = support::random_vector(rows * width, 5);
    const Vector weight = support::random_vector(width, 6);
    const Vector dy = support::random_vector(rows * width, 7);
    const Vector before = support::random_vector(width, 8);
    const TensorView dx = unwritten({rows, width});
    const TensorView dweight = floats(before);
    rms_norm_backward(*backend_, {.dy = floats({rows, width}, dy),
                                  .x = floats({rows, width}, x),
                                  .weight = floats(weight),
                                  .rstd = floats(reference(x, weight).rstd),
                                  .dx = dx,
                                  .dweight = dweight});
    // Row by row: rows are independent, and a difference over all of them would take minutes.
    Vector expected_dx;
    for (std::int64_t t = 0; t < rows; ++t) {
      const Vector row(x.begin() + t * width, x.begin() + (t + 1) * width);
      const Vector dy_row(dy.begin() + t * width, dy.begin() + (t + 1) * width);
      const Vector part = support::finite_difference(
          [&](const Vector& at) { return support::dot(reference(at, weight).y, dy_row); }, row);
      expected_dx.insert(expected_dx.end(), part.begin(), part.end());
    }
    support::expect_close(read(dx), expected_dx, kFp32, "dx", 1);  // width 1: dx is all but 0
    Vector expected_dweight =
        support::finite_difference([&](const Vector& at) { return support::dot(reference(x, at).y, dy); }, weight);
    for (std::size_t j = 0; j < before.size(); ++j) expected_dweight[j] += before[j];
    support::expect_close(read(dweight), expected_dweight, kFp32, "dweight");
  }
}

TEST_F(RmsNorm, BackwardAccumulatesAndWorksInPlace) {
  const std::int64_t rows = 17;
  const std::int64_t width = 127;
  const Vector x = support::random_vector(rows * width, 9);
  const Vector weight = support::random_vector(width, 10);
  const Vector before = support::random_vector(rows * width, 11);
  const TensorView dy = floats({rows, width}, support::random_vector(rows * width, 12));
  RmsNormBackward op{.dy = dy,
                     .x = floats({rows, width}, x),
                     .weight = floats(weight),
                     .rstd = floats(reference(x, weight).rstd),
                     .dx = unwritten({rows, width})};
  rms_norm_backward(*backend_, op);
  const std::vector<float> written = read(op.dx);

  op.dx = floats({rows, width}, before);
  op.accumulate = true;
  rms_norm_backward(*backend_, op);
  Vector expected(written.begin(), written.end());
  for (std::size_t i = 0; i < before.size(); ++i) expected[i] += before[i];
  support::expect_close(read(op.dx), expected, kFp32, "accumulated dx");

  // In place, with a weight gradient that must still see dy.
  op.dx = unwritten({rows, width});
  op.accumulate = false;
  op.dweight = floats(Vector(index(width)));
  rms_norm_backward(*backend_, op);
  const std::vector<float> dweight = read(op.dweight);
  op.dx = dy;
  op.dweight = floats(Vector(index(width)));
  rms_norm_backward(*backend_, op);
  EXPECT_EQ(read(dy), written);
  EXPECT_EQ(read(op.dweight), dweight);
}

TEST_F(RmsNorm, NotANumberIsNeverHidden) {
  Vector x = support::random_vector(2 * 17, 13);
  x[20] = std::nan("");
  const TensorView y = unwritten({2, 17});
  rms_norm_forward(*backend_,
                   {.x = floats({2, 17}, x), .weight = floats(Vector(17, 1)), .y = y, .rstd = unwritten({2})});
  const std::vector<float> values = read(y);
  for (std::size_t j = 0; j < 17; ++j) {
    EXPECT_FALSE(std::isnan(values[j]));
    EXPECT_TRUE(std::isnan(values[17 + j]));
  }
}

}  // namespace
}  // namespace shardora
