// The small passes over bfloat16 activations.
#include "kernels/elementwise.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::Side;

class Bf16Elementwise : public support::Bf16Test {};

TEST_F(Bf16Elementwise, AddRoundsTheSumOnce) {
  for (const std::int64_t count : {0, 1, 17, 128, 40001}) {
    expect_as_on_cpu([&](Side& side) {
      const TensorView y = side.activations({count}, support::random_vector(count, 2));
      add(side.backend(), {.x = side.activations({count}, support::random_vector(count, 1)), .y = y});
      return Outputs{{"y", y}};
    });
  }
}

TEST_F(Bf16Elementwise, ColumnSumIsNotRoundedToBf16) {
  for (const std::int64_t tokens : {0, 1, 17, 1000}) {
    for (const std::int64_t width : {1, 17, 128, 300}) {
      expect_as_on_cpu([&](Side& side) {
        const TensorView dbias = side.floats(support::random_vector(width, 4));
        column_sum(side.backend(), {.dy = side.activations({tokens, width}, support::random_vector(tokens * width, 3)),
                                    .dbias = dbias});
        return Outputs{{"dbias", dbias}};
      });
    }
  }
}

TEST_F(Bf16Elementwise, ConvertGoesThereAndBack) {
  const support::Vector values = support::rounded_to_bf16(support::random_vector(17 * 127, 5));
  Side side(*backend_, DType::kBF16);
  const TensorView narrow = side.unwritten_activations({17, 127}), wide = side.unwritten({17, 127});
  convert(*backend_, {.from = side.floats({17, 127}, values), .to = narrow});
  convert(*backend_, {.from = narrow, .to = wide});
  EXPECT_EQ(side.read(narrow), values);
  EXPECT_EQ(side.read(wide), values);
}

}  // namespace
}  // namespace shardora
