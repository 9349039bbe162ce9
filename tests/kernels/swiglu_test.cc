// SwiGLU against float64, its backward against finite differences, with and without the gains of its products.
#include "kernels/swiglu.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

Vector swiglu_reference(const Vector& gate, const Vector& up) {
  Vector y(gate.size());
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return y;
}

// A product and what its output is, in float64; absent gain and bias are empty.
struct Product {
  Vector u, gain, bias;
  Vector output() const {
    Vector y(u);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (!gain.empty()) y[i] *= gain[i % gain.size()];
      if (!bias.empty()) y[i] += bias[i % bias.size()];
    }
    return y;
  }
};

class Swiglu : public support::ActivationTest {
 protected:
  LinearProduct product(const Shape& shape, const Product& of) {
    return {.u = activations(shape, of.u),
            .gain = of.gain.empty() ? TensorView{} : floats(of.gain),
            .bias = of.bias.empty() ? TensorView{} : floats(of.bias)};
  }
  // `given`: bit 0 a gain, bit 1 a bias.
  static Product given_product(const Shape& shape, int given, unsigned seed) {
    return {.u = drawn(shape.elements(), seed, -5, 6),
            .gain = (given & 1) != 0 ? support::random_vector(shape[1], seed + 1, 0.5, 2) : Vector{},
            .bias = (given & 2) != 0 ? support::random_vector(shape[1], seed + 2) : Vector{}};
  }
};

TEST_P(Swiglu, ForwardMatchesFloat64AtOddSizes) {
  for (const std::int64_t tokens : {0, 1, 17, 127}) {
    for (const std::int64_t width : {1, 17, 200}) {
      const Shape shape{tokens, width};
      const Vector gate = drawn(tokens * width, 1, -9, 11), up = drawn(tokens * width, 2);
      const TensorView y = unwritten_activations(shape);
      swiglu_forward(*backend_, {.gate = {.u = activations(shape, gate)}, .up = {.u = activations(shape, up)}, .y = y});
      expect_output(y, swiglu_reference(gate, up), "y");
    }
  }
}

TEST_P(Swiglu, ForwardAppliesGainsAndBiasesOfEitherProduct) {
  for (const Shape& shape : {Shape{1, 1}, Shape{17, 31}, Shape{127, 200}}) {
    for (int given = 1; given < 16; ++given) {
      const Product gate = given_product(shape, given & 3, 20), up = given_product(shape, given >> 2, 30);
      const TensorView y = unwritten_activations(shape);
      swiglu_forward(*backend_, {.gate = product(shape, gate), .up = product(shape, up), .y = y});
      expect_output(y, swiglu_reference(gate.output(), up.output()), "y");
    }
  }
}

TEST_P(Swiglu, EachElementIsRightRelativeToItself) {
  Vector gate;
  for (double value = -80; value <= 80; value += 0.37) gate.push_back(static_cast<float>(value));
  gate = rounded(gate);
  const Vector up(gate.size(), 1.5);
  const TensorView y = unwritten_activations({1, std::ssize(gate)});
  swiglu_forward(*backend_, {.gate = {.u = activations(y.shape, gate)}, .up = {.u = activations(y.shape, up)}, .y = y});
  const double rounding = narrow() ? support::kBf16 : kFp32;
  const std::vector<float> values = read(y);
  const Vector expected = swiglu_reference(gate, up);
  for (std::size_t i = 0; i < gate.size(); ++i) EXPECT_NEAR(values[i] / expected[i], 1, rounding) << "gate " << gate[i];
}

TEST_P(Swiglu, ExtremeGatesStayFiniteAndNotANumberShows) {
  const Vector gate{-1000, 1000, -89, 89, 0, std::nan("")};
  const TensorView y = unwritten_activations({1, 6});
  swiglu_forward(*backend_,
                 {.gate = {.u = activations(y.shape, gate)}, .up = {.u = activations(y.shape, Vector(6, 1))}, .y = y});
  const std::vector<float> values = read(y);
  EXPECT_NEAR(values[0], 0, 1e-30);
  EXPECT_EQ(values[1], 1000);
  EXPECT_NEAR(values[2], 0, 1e-30);
  EXPECT_EQ(values[3], 89);
  EXPECT_EQ(values[4], 0);
  EXPECT_TRUE(std::isnan(values[5]));
}

// d sum(dy . y) / d(u, gain) of one product, by central differences. Each y depends on its own u alone, so one step
// moves all of them; likewise the gains, column by column.
struct Difference {
  Vector du, h;
};
Difference difference(const Product& of, const Vector& dy, const std::function<Vector(const Product&)>& y_of) {
  constexpr double kStep = 1e-5;
  const auto slopes = [&](Vector Product::*moved) {
    Product above = of, below = of;
    for (double& value : above.*moved) value += kStep;
    for (double& value : below.*moved) value -= kStep;
    const Vector y_above = y_of(above), y_below = y_of(below);
    Vector slope(dy.size());
    for (std::size_t i = 0; i < dy.size(); ++i) slope[i] = dy[i] * (y_above[i] - y_below[i]) / (2 * kStep);
    return slope;
  };
  Difference result{slopes(&Product::u), Vector(of.gain.size())};
  if (of.gain.empty()) return result;
  const Vector by_element = slopes(&Product::gain);
  for (std::size_t i = 0; i < dy.size(); ++i) result.h[i % of.gain.size()] += by_element[i];
  return result;
}

// h adds to what is there.
TEST_P(Swiglu, BackwardMatchesFiniteDifferences) {
  for (const Shape& shape : {Shape{0, 16}, Shape{1, 1}, Shape{17, 31}, Shape{37, 264}, Shape{130, 40}}) {
    const Vector dy = drawn(shape.elements(), 5), before = support::random_vector(shape[1], 6);
    for (int given = 0; given < 16; ++given) {
      const Product gate = given_product(shape, given & 3, 40), up = given_product(shape, given >> 2, 50);
      const auto gradient = [&](const Product& of) {
        return ProductGradient{.du = unwritten_activations(shape),
                               .h = of.gain.empty() ? TensorView{} : floats(before)};
      };
      const ProductGradient dgate = gradient(gate), dup = gradient(up);
      swiglu_backward(*backend_, {.dy = activations(shape, dy),
                                  .gate = product(shape, gate),
                                  .up = product(shape, up),
                                  .dgate = dgate,
                                  .dup = dup});
      const auto check = [&](const ProductGradient& result, Difference expected, const char* name) {
        expect_output(result.du, expected.du, name);
        for (std::size_t j = 0; j < expected.h.size(); ++j) expected.h[j] += before[j];
        if (result.h) expect_output(result.h, expected.h, name);
      };
      check(dgate, difference(gate, dy, [&](const Product& at) { return swiglu_reference(at.output(), up.output()); }),
            "gate");
      check(dup, difference(up, dy, [&](const Product& at) { return swiglu_reference(gate.output(), at.output()); }),
            "up");
    }
  }
}

TEST_P(Swiglu, BackwardMayOverwriteAnyOfItsInputs) {
  for (const auto& [given, shape] : {std::pair{0, Shape{131, 127}}, {3, Shape{131, 127}}, {3, Shape{37, 264}}}) {
    const Vector dy = drawn(shape.elements(), 8);
    const auto inputs = [&, given = given, shape = shape] {
      const auto h = [&] { return given == 0 ? TensorView{} : floats(Vector(index(shape[1]))); };
      return SwigluBackward{.dy = activations(shape, dy),
                            .gate = product(shape, given_product(shape, given, 60)),
                            .up = product(shape, given_product(shape, given, 70)),
                            .dgate = {.du = unwritten_activations(shape), .h = h()},
                            .dup = {.du = unwritten_activations(shape), .h = h()}};
    };
    const SwigluBackward apart = inputs();
    swiglu_backward(*backend_, apart);
    SwigluBackward over_inputs = inputs();
    over_inputs.dgate.du = over_inputs.gate.u;
    over_inputs.dup.du = over_inputs.up.u;
    swiglu_backward(*backend_, over_inputs);
    SwigluBackward over_dy = inputs();
    over_dy.dgate.du = over_dy.up.u;
    over_dy.dup.du = over_dy.dy;
    swiglu_backward(*backend_, over_dy);
    for (const SwigluBackward& op : {over_inputs, over_dy}) {
      EXPECT_EQ(read(op.dgate.du), read(apart.dgate.du));
      EXPECT_EQ(read(op.dup.du), read(apart.dup.du));
      if (given == 0) continue;
      EXPECT_EQ(read(op.dgate.h), read(apart.dgate.h));
      EXPECT_EQ(read(op.dup.h), read(apart.dup.h));
    }
  }
}

SHARDORA_OVER_TYPES(Swiglu);

}  // namespace
}  // namespace shardora
