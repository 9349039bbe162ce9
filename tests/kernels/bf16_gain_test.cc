// The gain's own passes and dropout, over bfloat16 activations.
#include "kernels/dora.h"
#include "kernels/random.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::random_vector;
using support::Side;

const Shape kShapes[] = {{0, 16}, {1, 1}, {17, 127}, {130, 40}, {33, 520}};

class Bf16Gain : public support::Bf16Test {};

TEST_F(Bf16Gain, ScaleColumnsForwardIsTheCpusRounded) {
  for (const Shape& shape : kShapes) {
    for (int given = 0; given < 8; ++given) {
      expect_as_on_cpu([&](Side& side) {
        const ScaleColumnsForward op{
            .u = side.activations(shape, random_vector(shape.elements(), 1)),
            .gain = (given & 1) != 0 ? side.floats(random_vector(shape[1], 2, 0.5, 2)) : TensorView{},
            .bias = (given & 2) != 0 ? side.floats(random_vector(shape[1], 3)) : TensorView{},
            .residual = (given & 4) != 0 ? side.activations(shape, random_vector(shape.elements(), 4)) : TensorView{},
            .y = side.unwritten_activations(shape)};
        scale_columns_forward(side.backend(), op);
        return Outputs{{"y", op.y}};
      });
    }
  }
}

TEST_F(Bf16Gain, ScaleColumnsBackwardIsTheCpusRoundedAndTheGainsSumIsNot) {
  for (const Shape& shape : kShapes) {
    for (int given = 0; given < 8; ++given) {
      expect_as_on_cpu([&](Side& side) {
        const bool with_sum = (given & 1) != 0;
        const ScaleColumnsBackward op{
            .dy = side.activations(shape, random_vector(shape.elements(), 5)),
            .u = with_sum ? side.activations(shape, random_vector(shape.elements(), 6)) : TensorView{},
            .gain = (given & 2) != 0 ? side.floats(random_vector(shape[1], 7, 0.5, 2)) : TensorView{},
            .du = side.activations(shape, random_vector(shape.elements(), 8)),
            .accumulate = (given & 4) != 0,
            .h = with_sum ? side.floats(random_vector(shape[1], 9)) : TensorView{}};
        scale_columns_backward(side.backend(), op);
        return with_sum ? Outputs{{"du", op.du}, {"h", op.h}} : Outputs{{"du", op.du}};
      });
    }
  }
}

TEST_F(Bf16Gain, DropoutGainAndGainMinusOneAreTheCpusRounded) {
  for (const Shape& shape : kShapes) {
    expect_as_on_cpu([&](Side& side) {
      const auto drawn = [&](unsigned seed) { return side.activations(shape, random_vector(shape.elements(), seed)); };
      const TensorView gain = side.floats(random_vector(shape[1], 10, 0.5, 2));
      const DropoutGainForward join{
          .base = drawn(11), .p = drawn(12), .e = drawn(13), .gain = gain, .y = drawn(14), .u = drawn(15)};
      dropout_gain_forward(side.backend(), join);
      const TensorView scaled = drawn(16);
      gain_minus_one(side.backend(), {.x = scaled, .gain = gain, .y = scaled});
      return Outputs{{"y", join.y}, {"u", join.u}, {"scaled", scaled}};
    });
  }
}

TEST_F(Bf16Gain, DropoutDropsWhatTheCpuDrops) {
  for (const Shape& shape : kShapes) {
    for (const std::int64_t first_feature : {0, 4, 5}) {
      for (const bool accumulate : {false, true}) {
        expect_as_on_cpu([&](Side& side) {
          const TensorView y = side.activations(shape, random_vector(shape.elements(), 17));
          dropout(side.backend(), {.x = side.activations(shape, random_vector(shape.elements(), 18)),
                                   .y = y,
                                   .accumulate = accumulate,
                                   .key = random_key(1, "dropout"),
                                   .places = side.make<std::int64_t>({shape[0]}, random_vector(shape[0], 19, 0, 1e12)),
                                   .positions = side.make<std::int32_t>({shape[0]}, random_vector(shape[0], 20, 0, 99)),
                                   .first_feature = first_feature,
                                   .probability = 0.4F});
          return Outputs{{"y", y}};
        });
      }
    }
  }
}

}  // namespace
}  // namespace shardora
