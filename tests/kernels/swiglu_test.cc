// SwiGLU against float64, its backward against finite differences.
#include "kernels/swiglu.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::kFp32;
using support::Vector;

Vector reference(const Vector& gate, const Vector& up) {
  Vector y(gate.size());
  for (std::size_t i = 0; i < y.size(); ++i) y[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
  return y;
}

class Swiglu : public support::KernelTest {};

TEST_F(Swiglu, ForwardMatchesFloat64AtOddSizes) {
  for (const std::int64_t tokens : {0, 1, 17, 127}) {
    for (const std::int64_t width : {1, 17, 200}) {
      const Vector gate = support::random_vector(tokens * width, 1, -9, 11);
      const Vector up = support::random_vector(tokens * width, 2);
      const TensorView y = unwritten({tokens, width});
      swiglu_forward(*backend_, {.gate = floats({tokens, width}, gate), .up = floats({tokens, width}, up), .y = y});
      support::expect_close(read(y), reference(gate, up), kFp32, "y");
    }
  }
}

TEST_F(Swiglu, EachElementIsRightRelativeToItself) {
  Vector gate;
  for (double value = -80; value <= 80; value += 0.37) gate.push_back(static_cast<float>(value));
  const Vector up(gate.size(), 1.5);
  const TensorView y = unwritten({1, static_cast<std::int64_t>(gate.size())});
  swiglu_forward(*backend_, {.gate = floats(y.shape, gate), .up = floats(y.shape, up), .y = y});
  const std::vector<float> values = read(y);
  const Vector expected = reference(gate, up);
  for (std::size_t i = 0; i < gate.size(); ++i) EXPECT_NEAR(values[i] / expected[i], 1, kFp32) << "gate " << gate[i];
}

TEST_F(Swiglu, ExtremeGatesStayFiniteAndNotANumberShows) {
  const Vector gate{-1000, 1000, -89, 89, 0, std::nan("")};
  const TensorView y = unwritten({1, 6});
  swiglu_forward(*backend_, {.gate = floats(y.shape, gate), .up = floats(y.shape, Vector(6, 1)), .y = y});
  const std::vector<float> values = read(y);
  EXPECT_NEAR(values[0], 0, 1e-30);
  EXPECT_EQ(values[1], 1000);
  EXPECT_NEAR(values[2], 0, 1e-30);
  EXPECT_EQ(values[3], 89);
  EXPECT_EQ(values[4], 0);
  EXPECT_TRUE(std::isnan(values[5]));
}

TEST_F(Swiglu, BackwardMatchesFiniteDifferences) {
  const Shape shape{17, 31};
  const std::int64_t count = shape.elements();
  const Vector gate = support::random_vector(count, 3, -5, 6);
  const Vector up = support::random_vector(count, 4);
  const Vector dy = support::random_vector(count, 5);
  const TensorView dgate = unwritten(shape);
  const TensorView dup = unwritten(shape);
  swiglu_backward(
      *backend_,
      {.dy = floats(shape, dy), .gate = floats(shape, gate), .up = floats(shape, up), .dgate = dgate, .dup = dup});
  const auto loss_of_gate = [&](const Vector& at) { return support::dot(reference(at, up), dy); };
  const auto loss_of_up = [&](const Vector& at) { return support::dot(reference(gate, at), dy); };
  support::expect_close(read(dgate), support::finite_difference(loss_of_gate, gate), kFp32, "dgate");
  support::expect_close(read(dup), support::finite_difference(loss_of_up, up), kFp32, "dup");
}

TEST_F(Swiglu, BackwardMayOverwriteAnyOfItsInputs) {
  const Shape shape{17, 127};
  const Vector gate = support::random_vector(shape.elements(), 6);
  const Vector up = support::random_vector(shape.elements(), 7);
  const Vector dy = support::random_vector(shape.elements(), 8);
  const auto inputs = [&] {
    return SwigluBackward{.dy = floats(shape, dy),
                          .gate = floats(shape, gate),
                          .up = floats(shape, up),
                          .dgate = unwritten(shape),
                          .dup = unwritten(shape)};
  };
  const SwigluBackward apart = inputs();
  swiglu_backward(*backend_, apart);
  SwigluBackward over_inputs = inputs();
  over_inputs.dgate = over_inputs.gate;
  over_inputs.dup = over_inputs.up;
  swiglu_backward(*backend_, over_inputs);
  SwigluBackward over_dy = inputs();
  over_dy.dgate = over_dy.up;
  over_dy.dup = over_dy.dy;
  swiglu_backward(*backend_, over_dy);
  for (const SwigluBackward& op : {over_inputs, over_dy}) {
    EXPECT_EQ(read(op.dgate), read(apart.dgate));
    EXPECT_EQ(read(op.dup), read(apart.dup));
  }
}

}  // namespace
}  // namespace shardora
