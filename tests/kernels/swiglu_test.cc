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
struct Side {
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

class Swiglu : public support::KernelTest {
 protected:
  LinearProduct product(const Shape& shape, const Side& side) {
    return {.u = floats(shape, side.u),
            .gain = side.gain.empty() ? TensorView{} : floats(side.gain),
            .bias = side.bias.empty() ? TensorView{} : floats(side.bias)};
  }
  // `given`: bit 0 a gain, bit 1 a bias.
  static Side side(const Shape& shape, int given, unsigned seed) {
    return {.u = support::random_vector(shape.elements(), seed, -5, 6),
            .gain = (given & 1) != 0 ? support::random_vector(shape[1], seed + 1, 0.5, 2) : Vector{},
            .bias = (given & 2) != 0 ? support::random_vector(shape[1], seed + 2) : Vector{}};
  }
};

TEST_F(Swiglu, ForwardMatchesFloat64AtOddSizes) {
  for (const std::int64_t tokens : {0, 1, 17, 127}) {
    for (const std::int64_t width : {1, 17, 200}) {
      const Vector gate = support::random_vector(tokens * width, 1, -9, 11);
      const Vector up = support::random_vector(tokens * width, 2);
      const TensorView y = unwritten({tokens, width});
      swiglu_forward(*backend_,
                     {.gate = {.u = floats({tokens, width}, gate)}, .up = {.u = floats({tokens, width}, up)}, .y = y});
      support::expect_close(read(y), swiglu_reference(gate, up), kFp32, "y");
    }
  }
}

TEST_F(Swiglu, ForwardAppliesGainsAndBiasesOfEitherProduct) {
  for (const Shape& shape : {Shape{1, 1}, Shape{17, 31}, Shape{127, 200}}) {
    for (int given = 1; given < 16; ++given) {
      const Side gate = side(shape, given & 3, 20), up = side(shape, given >> 2, 30);
      const TensorView y = unwritten(shape);
      swiglu_forward(*backend_, {.gate = product(shape, gate), .up = product(shape, up), .y = y});
      support::expect_close(read(y), swiglu_reference(gate.output(), up.output()), kFp32, "y");
    }
  }
}

TEST_F(Swiglu, EachElementIsRightRelativeToItself) {
  Vector gate;
  for (double value = -80; value <= 80; value += 0.37) gate.push_back(static_cast<float>(value));
  const Vector up(gate.size(), 1.5);
  const TensorView y = unwritten({1, static_cast<std::int64_t>(gate.size())});
  swiglu_forward(*backend_, {.gate = {.u = floats(y.shape, gate)}, .up = {.u = floats(y.shape, up)}, .y = y});
  const std::vector<float> values = read(y);
  const Vector expected = swiglu_reference(gate, up);
  for (std::size_t i = 0; i < gate.size(); ++i) EXPECT_NEAR(values[i] / expected[i], 1, kFp32) << "gate " << gate[i];
}

TEST_F(Swiglu, ExtremeGatesStayFiniteAndNotANumberShows) {
  const Vector gate{-1000, 1000, -89, 89, 0, std::nan("")};
  const TensorView y = unwritten({1, 6});
  swiglu_forward(*backend_, {.gate = {.u = floats(y.shape, gate)}, .up = {.u = floats(y.shape, Vector(6, 1))}, .y = y});
  const std::vector<float> values = read(y);
  EXPECT_NEAR(values[0], 0, 1e-30);
  EXPECT_EQ(values[1], 1000);
  EXPECT_NEAR(values[2], 0, 1e-30);
  EXPECT_EQ(values[3], 89);
  EXPECT_EQ(values[4], 0);
  EXPECT_TRUE(std::isnan(values[5]));
}

// du by finite differences in u, h by those in the gain; h adds to what is there.
TEST_F(Swiglu, BackwardMatchesFiniteDifferences) {
  const Shape shape{17, 31};
  const Vector dy = support::random_vector(shape.elements(), 5);
  const Vector before = support::random_vector(shape[1], 6);
  for (int given = 0; given < 16; ++given) {
    const Side gate = side(shape, given & 3, 40), up = side(shape, given >> 2, 50);
    const auto gradient = [&](const Side& of) {
      return ProductGradient{.du = unwritten(shape), .h = of.gain.empty() ? TensorView{} : floats(before)};
    };
    const ProductGradient dgate = gradient(gate), dup = gradient(up);
    swiglu_backward(
        *backend_,
        {.dy = floats(shape, dy), .gate = product(shape, gate), .up = product(shape, up), .dgate = dgate, .dup = dup});
    const auto check = [&](const Side& of, const ProductGradient& result, const auto& loss_of, const char* name) {
      const auto loss_of_u = [&](const Vector& at) { return loss_of(Side{at, of.gain, of.bias}); };
      support::expect_close(read(result.du), support::finite_difference(loss_of_u, of.u), kFp32, name);
      if (of.gain.empty()) return;
      Vector h = support::finite_difference(
          [&](const Vector& at) {
            return loss_of(Side{of.u, at, of.bias});
          },
          of.gain);
      for (std::size_t j = 0; j < h.size(); ++j) h[j] += before[j];
      support::expect_close(read(result.h), h, kFp32, name);
    };
    const auto loss = [&](const Side& g, const Side& u) {
      return support::dot(swiglu_reference(g.output(), u.output()), dy);
    };
    check(
        gate, dgate, [&](const Side& at) { return loss(at, up); }, "gate");
    check(
        up, dup, [&](const Side& at) { return loss(gate, at); }, "up");
  }
}

TEST_F(Swiglu, BackwardMayOverwriteAnyOfItsInputs) {
  const Shape shape{131, 127};
  const Vector dy = support::random_vector(shape.elements(), 8);
  for (const int given : {0, 3}) {
    const auto inputs = [&] {
      const auto h = [&] { return given == 0 ? TensorView{} : floats(Vector(index(shape[1]))); };
      return SwigluBackward{.dy = floats(shape, dy),
                            .gate = product(shape, side(shape, given, 60)),
                            .up = product(shape, side(shape, given, 70)),
                            .dgate = {.du = unwritten(shape), .h = h()},
                            .dup = {.du = unwritten(shape), .h = h()}};
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

}  // namespace
}  // namespace shardora
