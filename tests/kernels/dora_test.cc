// DoRA's passes over activations: gain, its gradient, dropout's two branches.
#include "kernels/dora.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

struct ScalingCase {
  std::int64_t tokens, width;
};
const ScalingCase kScalingCases[] = {{0, 17}, {1, 1}, {17, 127}, {127, 17}, {130, 300}, {33, 520}};

using Dora = support::KernelTest;  // vectors of columns

class DoraScaling : public support::ActivationTest {};

TEST_F(Dora, GainIsMagnitudeOverNorm) {
  const Vector m = support::random_vector(127, 1, 0.1, 3);
  const Vector n = support::random_vector(127, 2, 0.2, 4);
  const TensorView gain = unwritten({127});
  dora_gain(*backend_, {.magnitude = floats(m), .norm = floats(n), .gain = gain});
  Vector expected;
  for (std::size_t j = 0; j < m.size(); ++j) expected.push_back(m[j] / n[j]);
  support::expect_close(read(gain), expected, kFp32, "gain");
}

TEST_F(Dora, GainIsExactlyOneWhereMagnitudeIsTheNorm) {
  const TensorView n = floats(support::random_vector(127, 3, 1e-6, 9));
  const TensorView gain = unwritten({127});
  dora_gain(*backend_, {.magnitude = n, .norm = n, .gain = gain});
  EXPECT_EQ(read(gain), std::vector<float>(127, 1.0F));
}

TEST_F(Dora, ZeroAndSubnormalNormsGiveFiniteResults) {
  const TensorView norm = floats({0, 1e-40, 1e-13});
  const TensorView gain = unwritten({3});
  dora_gain(*backend_, {.magnitude = floats(Vector(3, 1e-12)), .norm = norm, .gain = gain});
  EXPECT_EQ(read(gain), std::vector<float>(3, 1.0F));
  const TensorView c = unwritten({3});
  norm_gradient_factor(*backend_, {.magnitude = floats({1, 1, 1}), .norm = norm, .h = floats({1, 1, 1}), .c = c});
  EXPECT_EQ(read(c), std::vector<float>(3, 0.0F));
  const TensorView h = floats({0, 3e-12, 3});
  magnitude_gradient(*backend_, {.norm = norm, .h = h});
  support::expect_close(read(h), {0, 3, 3e12}, kFp32, "dm");
}

TEST_P(DoraScaling, ScaleColumnsForwardMatchesFloat64WithAndWithoutGainBiasAndResidual) {
  for (const auto& [tokens, width] : kScalingCases) {
    const Vector u = drawn(tokens * width, 4);
    const Vector gain = support::random_vector(width, 5, 0.5, 2);
    const Vector bias = support::random_vector(width, 6);
    const Vector residual = drawn(tokens * width, 30);
    for (int given = 0; given < 8; ++given) {
      const bool with_gain = (given & 1) != 0;
      const bool with_bias = (given & 2) != 0;
      const bool with_residual = (given & 4) != 0;
      Vector expected(u);
      for (std::size_t i = 0; i < u.size(); ++i) {
        const std::size_t j = i % index(width);
        expected[i] = (with_gain ? gain[j] : 1) * u[i] + (with_bias ? bias[j] : 0) + (with_residual ? residual[i] : 0);
      }
      const TensorView apart = unwritten_activations({tokens, width});
      ScaleColumnsForward op{.u = activations({tokens, width}, u),
                             .gain = with_gain ? floats(gain) : TensorView{},
                             .bias = with_bias ? floats(bias) : TensorView{},
                             .residual = with_residual ? activations({tokens, width}, residual) : TensorView{},
                             .y = apart};
      scale_columns_forward(*backend_, op);
      expect_output(apart, expected, "y");
      op.y = op.u;
      scale_columns_forward(*backend_, op);
      EXPECT_EQ(read(op.u), read(apart));
      if (!with_residual) continue;
      op.u = activations({tokens, width}, u);
      op.y = op.residual;
      scale_columns_forward(*backend_, op);
      EXPECT_EQ(read(op.residual), read(apart));
    }
  }
}

// Of sum(dy . gain . u), which is linear in u and in the gain.
TEST_P(DoraScaling, ScaleColumnsBackwardMatchesFloat64) {
  for (const auto& [tokens, width] : kScalingCases) {
    const Vector u = drawn(tokens * width, 7), dy = drawn(tokens * width, 9);
    const Vector du_before = drawn(tokens * width, 31), h_before = support::random_vector(width, 10);
    for (int given = 0; given < 8; ++given) {
      const bool with_gain = (given & 1) != 0, accumulate = (given & 2) != 0, with_h = (given & 4) != 0;
      const Vector gain = with_gain ? support::random_vector(width, 8, 0.5, 2) : Vector(index(width), 1);
      Vector du = accumulate ? du_before : Vector(u.size()), h = h_before;
      for (std::size_t i = 0; i < u.size(); ++i) {
        du[i] += gain[i % index(width)] * dy[i];
        h[i % index(width)] += dy[i] * u[i];
      }
      const ScaleColumnsBackward op{.dy = activations({tokens, width}, dy),
                                    .u = with_h ? activations({tokens, width}, u) : TensorView{},
                                    .gain = with_gain ? floats(gain) : TensorView{},
                                    .du = activations({tokens, width}, du_before),
                                    .accumulate = accumulate,
                                    .h = with_h ? floats(h_before) : TensorView{}};
      scale_columns_backward(*backend_, op);
      expect_output(op.du, du, "du");
      if (with_h) expect_output(op.h, h, "h");
    }
  }
}

TEST_P(DoraScaling, ScaleColumnsBackwardInPlaceGivesTheSameBits) {
  for (const auto& [tokens, width] : kScalingCases) {
    const Vector dy = drawn(tokens * width, 11);
    for (const bool with_gain : {true, false}) {
      ScaleColumnsBackward op{.dy = activations({tokens, width}, dy),
                              .u = activations({tokens, width}, support::random_vector(tokens * width, 12)),
                              .gain = with_gain ? floats(support::random_vector(width, 13)) : TensorView{},
                              .du = unwritten_activations({tokens, width}),
                              .h = floats(Vector(index(width)))};
      scale_columns_backward(*backend_, op);
      ScaleColumnsBackward in_place = op;
      in_place.dy = in_place.du = activations({tokens, width}, dy);
      in_place.h = floats(Vector(index(width)));
      scale_columns_backward(*backend_, in_place);
      EXPECT_EQ(read(in_place.du), read(op.du));
      EXPECT_EQ(read(in_place.h), read(op.h));
      if (!with_gain) support::expect_close(read(op.du), dy, 0, "du without gain");

      ScaleColumnsBackward without_h = op;  // u is not needed then
      without_h.du = unwritten_activations({tokens, width});
      without_h.u = without_h.h = TensorView{};
      scale_columns_backward(*backend_, without_h);
      EXPECT_EQ(read(without_h.du), read(op.du));
    }
  }
}

class OnThreads : public support::KernelTest {
 public:
  void TestBody() override {}
  explicit OnThreads(int threads) { backend_ = make_backend(BackendKind::kCpu, {.threads = threads}); }
  std::vector<float> h() {
    const Shape shape{1000, 127};
    const TensorView sums = floats(Vector(127));
    scale_columns_backward(*backend_, {.dy = floats(shape, support::random_vector(shape.elements(), 35)),
                                       .u = floats(shape, support::random_vector(shape.elements(), 36)),
                                       .gain = {},
                                       .du = unwritten(shape),
                                       .h = sums});
    return read(sums);
  }
};

TEST(DoraThreads, SumsOverTokensDoNotDependOnTheirNumber) {
  const std::vector<float> alone = OnThreads(1).h();
  for (const int threads : {2, 3, 7}) EXPECT_EQ(OnThreads(threads).h(), alone);
}

TEST_P(DoraScaling, DropoutGainJoinsBaseAndDroppedBranch) {
  for (const auto& [tokens, width] : kScalingCases) {
    const std::int64_t count = tokens * width;
    const Vector base = drawn(count, 14);
    const Vector p = drawn(count, 15);
    const Vector e = drawn(count, 16);
    const Vector gain = support::random_vector(width, 17, 0.5, 2);
    Vector y(base.size());
    Vector u(base.size());
    for (std::size_t i = 0; i < base.size(); ++i) {
      const double g = gain[i % index(width)];
      y[i] = base[i] + (g - 1) * p[i] + g * e[i];
      u[i] = p[i] + e[i];
    }
    const Shape shape{tokens, width};
    DropoutGainForward op{.base = activations(shape, base),
                          .p = activations(shape, p),
                          .e = activations(shape, e),
                          .gain = floats(gain),
                          .y = unwritten_activations(shape),
                          .u = unwritten_activations(shape)};
    dropout_gain_forward(*backend_, op);
    expect_output(op.y, y, "y");
    expect_output(op.u, u, "u");
    op.y = op.base;
    op.u = op.p;
    dropout_gain_forward(*backend_, op);
    expect_output(op.y, y, "y in place");
    expect_output(op.u, u, "u in place");
  }
}

TEST_P(DoraScaling, DropoutGainWithGainOneAndNoAdapterIsTheBaseExactly) {
  const Shape shape{17, 127};
  const Vector base = drawn(shape.elements(), 18);
  const TensorView y = unwritten_activations(shape);
  dropout_gain_forward(*backend_, {.base = activations(shape, base),
                                   .p = activations(shape, support::random_vector(shape.elements(), 19)),
                                   .e = activations(shape, Vector(base.size())),
                                   .gain = floats(Vector(127, 1)),
                                   .y = y,
                                   .u = unwritten_activations(shape)});
  support::expect_close(read(y), base, 0, "y");
}

TEST_P(DoraScaling, GainMinusOneScalesColumns) {
  for (const auto& [tokens, width] : kScalingCases) {
    const Vector x = drawn(tokens * width, 20);
    const Vector gain = support::random_vector(width, 21, 0.5, 2);
    const TensorView y = activations({tokens, width}, x);
    gain_minus_one(*backend_, {.x = y, .gain = floats(gain), .y = y});
    Vector expected(x);
    for (std::size_t i = 0; i < x.size(); ++i) expected[i] *= gain[i % index(width)] - 1;
    expect_output(y, expected, "y");
  }
}

TEST_F(Dora, NormGradientFactorAndMagnitudeGradientMatchFiniteDifferences) {
  // The loss sum_j h_j g_j = sum_j h_j m_j / n_j has dm = h/n; by n = sqrt(q) its derivative in q is c/2.
  const Vector m = support::random_vector(127, 22, 0.1, 3);
  const Vector n = support::random_vector(127, 23, 0.2, 4);
  const Vector h = support::random_vector(127, 24);
  const TensorView c = unwritten({127});
  const TensorView dm = floats(h);
  norm_gradient_factor(*backend_, {.magnitude = floats(m), .norm = floats(n), .h = floats(h), .c = c});
  magnitude_gradient(*backend_, {.norm = floats(n), .h = dm});
  Vector q;
  for (const double norm : n) q.push_back(norm * norm);
  const auto loss = [&](const Vector& at_m, const Vector& at_q) {
    double sum = 0;
    for (std::size_t j = 0; j < h.size(); ++j) sum += h[j] * at_m[j] / std::sqrt(at_q[j]);
    return sum;
  };
  Vector half_c = support::finite_difference([&](const Vector& at) { return loss(m, at); }, q);
  for (double& value : half_c) value *= 2;
  support::expect_close(read(c), half_c, kFp32, "c");
  support::expect_close(read(dm), support::finite_difference([&](const Vector& at) { return loss(at, q); }, m), kFp32,
                        "dm");
}

TEST_P(DoraScaling, ScalingRepeatsBitForBit) {
  const Shape shape{1000, 127};
  const ScaleColumnsBackward first{.dy = activations(shape, support::random_vector(shape.elements(), 25)),
                                   .u = activations(shape, support::random_vector(shape.elements(), 26)),
                                   .gain = floats(support::random_vector(127, 27)),
                                   .du = unwritten_activations(shape),
                                   .h = floats(Vector(127))};
  scale_columns_backward(*backend_, first);
  for (int repeat = 0; repeat < 10; ++repeat) {
    ScaleColumnsBackward again = first;
    again.h = floats(Vector(127));
    scale_columns_backward(*backend_, again);
    EXPECT_EQ(read(again.h), read(first.h));
  }
}

SHARDORA_OVER_TYPES(DoraScaling);

}  // namespace
}  // namespace shardora
