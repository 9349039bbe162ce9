// Rotary embedding of bfloat16 heads, with and without the gain and the bias of the product.
#include "kernels/rope.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::random_vector;
using support::Side;
using support::Vector;

constexpr std::int64_t kMaxPositions = 40;

struct RoundedRopeCase {
  std::int64_t tokens, heads, head_dim;
  std::int64_t width() const { return heads * head_dim; }
  Shape shape() const { return {tokens, heads, head_dim}; }
};
// Halves that packs fit, that do not, and one where the width is of packs but a half is not.
const RoundedRopeCase kRoundedRopeCases[] = {{0, 2, 16}, {1, 1, 2}, {17, 3, 6}, {37, 3, 64}, {9, 5, 128}, {33, 4, 12}};

RopeTable table_on(Side& side, const RoundedRopeCase& sizes) {
  const Shape shape{kMaxPositions, sizes.head_dim / 2};
  return {.cosines = side.floats(shape, random_vector(shape.elements(), 1, -1, 1)),
          .sines = side.floats(shape, random_vector(shape.elements(), 2, -1, 1))};
}

TensorView positions_on(Side& side, const RoundedRopeCase& sizes) {
  std::vector<std::int64_t> positions;
  for (std::int64_t t = 0; t < sizes.tokens; ++t) positions.push_back(t * 7 % kMaxPositions);
  return side.ints(positions);
}

class Bf16Rope : public support::Bf16Test {};

TEST_F(Bf16Rope, ForwardIsTheCpusRounded) {
  for (const RoundedRopeCase& sizes : kRoundedRopeCases) {
    for (int given = 0; given < 4; ++given) {
      expect_as_on_cpu([&](Side& side) {
        const TensorView u = side.activations(sizes.shape(), random_vector(sizes.tokens * sizes.width(), 3));
        const TensorView y = given == 0 ? u : side.unwritten_activations(sizes.shape());
        rope_forward(
            side.backend(),
            {.x = {.u = u,
                   .gain = (given & 1) != 0 ? side.floats(random_vector(sizes.width(), 4, 0.5, 2)) : TensorView{},
                   .bias = (given & 2) != 0 ? side.floats(random_vector(sizes.width(), 5)) : TensorView{}},
             .positions = positions_on(side, sizes),
             .table = table_on(side, sizes),
             .y = y});
        return Outputs{{"y", y}};
      });
    }
  }
}

TEST_F(Bf16Rope, BackwardIsTheCpusRoundedAndTheGainsSumIsNot) {
  for (const RoundedRopeCase& sizes : kRoundedRopeCases) {
    for (const bool with_gain : {false, true}) {
      expect_as_on_cpu([&](Side& side) {
        const std::int64_t count = sizes.tokens * sizes.width();
        RopeBackward op{.dy = side.activations(sizes.shape(), random_vector(count, 6)),
                        .x = {},
                        .positions = positions_on(side, sizes),
                        .table = table_on(side, sizes),
                        .dx = {.du = side.unwritten_activations(sizes.shape()), .h = {}}};
        if (with_gain) {
          op.x = {.u = side.activations(sizes.shape(), random_vector(count, 7)),
                  .gain = side.floats(random_vector(sizes.width(), 8, 0.5, 2)),
                  .bias = {}};
          op.dx.h = side.floats(random_vector(sizes.width(), 9));
        } else {
          op.dx.du = op.dy;
        }
        rope_backward(side.backend(), op);
        return with_gain ? Outputs{{"du", op.dx.du}, {"h", op.dx.h}} : Outputs{{"du", op.dx.du}};
      });
    }
  }
}

}  // namespace
}  // namespace shardora
