// SwiGLU of bfloat16 products, with and without their gains and biases.
#include "kernels/swiglu.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::random_vector;
using support::Side;

const Shape kShapes[] = {{0, 16}, {1, 1}, {17, 31}, {37, 264}, {130, 40}};

// `given`: bit 0 a gain, bit 1 a bias.
LinearProduct product_on(Side& side, const Shape& shape, int given, unsigned seed) {
  return {.u = side.activations(shape, random_vector(shape.elements(), seed, -5, 6)),
          .gain = (given & 1) != 0 ? side.floats(random_vector(shape[1], seed + 1, 0.5, 2)) : TensorView{},
          .bias = (given & 2) != 0 ? side.floats(random_vector(shape[1], seed + 2)) : TensorView{}};
}

class Bf16Swiglu : public support::Bf16Test {};

TEST_F(Bf16Swiglu, ForwardIsTheCpusRounded) {
  for (const Shape& shape : kShapes) {
    for (const int given : {0, 1, 6, 15}) {
      expect_as_on_cpu([&](Side& side) {
        const TensorView y = side.unwritten_activations(shape);
        swiglu_forward(
            side.backend(),
            {.gate = product_on(side, shape, given & 3, 10), .up = product_on(side, shape, given >> 2, 20), .y = y});
        return Outputs{{"y", y}};
      });
    }
  }
}

TEST_F(Bf16Swiglu, BackwardIsTheCpusRoundedAndTheGainsSumsAreNot) {
  for (const Shape& shape : kShapes) {
    for (const int given : {0, 1, 6, 15}) {
      for (const bool over_inputs : {false, true}) {
        expect_as_on_cpu([&](Side& side) {
          SwigluBackward op{.dy = side.activations(shape, random_vector(shape.elements(), 30)),
                            .gate = product_on(side, shape, given & 3, 10),
                            .up = product_on(side, shape, given >> 2, 20),
                            .dgate = {.du = side.unwritten_activations(shape), .h = {}},
                            .dup = {.du = side.unwritten_activations(shape), .h = {}}};
          if (over_inputs) {
            op.dgate.du = op.up.u;
            op.dup.du = op.dy;
          }
          Outputs outputs{{"dgate", op.dgate.du}, {"dup", op.dup.du}};
          const auto with_sum = [&](const LinearProduct& product, ProductGradient& gradient, const char* name) {
            if (!product.gain) return;
            gradient.h = side.floats(random_vector(shape[1], 31));
            outputs.push_back({name, gradient.h});
          };
          with_sum(op.gate, op.dgate, "h of gate");
          with_sum(op.up, op.dup, "h of up");
          swiglu_backward(side.backend(), op);
          return outputs;
        });
      }
    }
  }
}

}  // namespace
}  // namespace shardora
