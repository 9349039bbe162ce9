// Rows of bfloat16: moved, looked up in tables of either type, and summed into a table's gradient.
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::random_vector;
using support::Side;
using support::Vector;

class Bf16Rows : public support::Bf16Test {};

TEST_F(Bf16Rows, GatherAndScatterMoveEveryBit) {
  for (const std::int64_t width : {1, 6, 7, 8, 520}) {
    expect_as_on_cpu([&](Side& side) {
      const TensorView gathered = side.unwritten_activations({4, width});
      const TensorView scattered = side.unwritten_activations({17, width});
      gather_rows(side.backend(), {.from = side.activations({17, width}, random_vector(17 * width, 1)),
                                   .rows = side.ints({0, 3, 3, 16}),
                                   .to = gathered});
      scatter_rows(side.backend(), {.from = side.activations({3, width}, random_vector(3 * width, 2)),
                                    .rows = side.ints({1, 8, 15}),
                                    .to = scattered});
      const TensorView written = side.activations({17, width}, random_vector(17 * width, 6));
      write_rows(side.backend(), {.from = side.activations({3, width}, random_vector(3 * width, 7)),
                                  .rows = side.ints({15, 1, 8}),
                                  .to = written});
      return Outputs{{"gathered", gathered, 1e-30}, {"scattered", scattered, 1e-30}, {"written", written, 1e-30}};
    });
  }
}

TEST_F(Bf16Rows, EmbeddingGatherReadsAndWritesEitherType) {
  const std::int64_t rows = 5, tokens = 9;
  for (const std::int64_t width : {1, 8, 12, 264}) {
    for (const bool narrow_table : {false, true}) {
      for (const bool narrow_y : {false, true}) {
        expect_as_on_cpu([&](Side& side) {
          const Shape shape{rows, width}, y_shape{tokens, width};
          const Vector values = support::rounded_to_bf16(random_vector(rows * width, 3));
          const TensorView y = narrow_y ? side.unwritten_activations(y_shape) : side.unwritten(y_shape);
          embedding_gather(side.backend(),
                           {.table = narrow_table ? side.activations(shape, values) : side.floats(shape, values),
                            .ids = side.ints({2, 6, 1, 3, 3, 7, 0, 5, 100}),
                            .first_row = 2,
                            .y = y});
          return Outputs{{"y", y, 1e-30}};
        });
      }
    }
  }
}

TEST_F(Bf16Rows, EmbeddingScatterIsNotRoundedToBf16) {
  for (const std::int64_t width : {1, 8, 127}) {
    expect_as_on_cpu([&](Side& side) {
      const TensorView dtable = side.floats({5, width}, random_vector(5 * width, 4));
      embedding_scatter(side.backend(), {.dy = side.activations({9, width}, random_vector(9 * width, 5)),
                                         .ids = side.ints({2, 6, 1, 3, 3, 7, 0, 3, 100}),
                                         .first_row = 2,
                                         .dtable = dtable});
      return Outputs{{"dtable", dtable, 1e-30}};
    });
  }
}

}  // namespace
}  // namespace shardora
