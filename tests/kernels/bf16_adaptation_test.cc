// bfloat16 in sums over a vocabulary and over a frozen matrix: a gradient of logits that is written in it, squared
// norms that are read from it.
#include "kernels/cross_entropy.h"
#include "kernels/reduce.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::kBf16;
using support::Outputs;
using support::Side;
using support::Vector;

class Bf16Adaptation : public support::Bf16Test {
 protected:
  // Logits and row sums are fp32 on both sides; dlogits is bfloat16 in memory apart on the device, over the logits on
  // the CPU.
  void expect_cross_entropy(std::int64_t rows, std::int64_t columns, std::int64_t first_column) {
    const Vector logits = support::random_vector(rows * columns, 1, -6, 9);
    std::vector<std::int64_t> targets;
    for (std::int64_t t = 0; t < rows; ++t) targets.push_back((t * 31 + 5) % (columns + first_column));
    expect_as_on_cpu([&](Side& side) {
      const bool on_device = side.backend().kind() == BackendKind::kCuda;
      const TensorView apart = on_device ? side.unwritten_activations({rows, columns}) : TensorView{};
      const CrossEntropy op{.logits = side.floats({rows, columns}, logits),
                            .dlogits = apart,
                            .targets = side.ints(targets),
                            .first_column = first_column,
                            .row_max = side.unwritten({rows}),
                            .sums = side.unwritten({2, rows}),
                            .loss = side.make<double>({2}, Vector{10, 100}),
                            .gradient_scale = 0.37F};
      cross_entropy_max(side.backend(), op);
      cross_entropy_sum(side.backend(), op);
      cross_entropy_finish(side.backend(), op);
      const TensorView gradient = on_device ? op.dlogits : op.logits;
      return Outputs{{"dlogits", gradient}, {"loss", op.loss}, {"row_max", op.row_max}, {"sums", op.sums}};
    });
  }
};

TEST_F(Bf16Adaptation, CrossEntropyWritesItsGradientRounded) {
  for (const std::int64_t rows : {0, 1, 17}) {
    for (const std::int64_t columns : {1, 17, 128, 1036, 2049}) {
      for (const std::int64_t first_column : {0, 3}) expect_cross_entropy(rows, columns, first_column);
    }
  }
}

TEST_F(Bf16Adaptation, CrossEntropyLeavesTheLogitsWhereItsGradientGoesElsewhere) {
  const Vector logits = support::random_vector(3 * 20, 2);
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Side side(*backend_, dtype);
    const TensorView given = side.floats({3, 20}, logits), apart = side.unwritten_activations({3, 20});
    const CrossEntropy op{.logits = given,
                          .dlogits = apart,
                          .targets = side.ints({0, 19, 7}),
                          .row_max = side.floats({2, 2, 2}),
                          .sums = side.floats({2, 3}, {5, 5, 5, 1, 1, 1}),
                          .loss = side.make<double>({2}, Vector{0, 0})};
    cross_entropy_finish(*backend_, op);
    support::expect_close(side.read(given), logits, 0, "logits");
    EXPECT_NEAR(side.read(apart)[0], std::exp(logits[0] - 2) / 5 - 1, kBf16);
  }
}

TEST_F(Bf16Adaptation, CrossEntropyRefusesARoundedGradientOverTheLogits) {
  Side side(*backend_, DType::kBF16);
  CrossEntropy op{.logits = side.floats({1, 4}, Vector(4)),
                  .targets = side.ints({0}),
                  .row_max = side.floats({0}),
                  .sums = side.floats({2, 1}, {1, 0}),
                  .loss = side.make<double>({2}, Vector{0, 0})};
  op.dlogits = {op.logits.data, DType::kBF16, {1, 4}};
  EXPECT_THROW(cross_entropy_finish(*backend_, op), Error);
}

TEST_F(Bf16Adaptation, SquaredNormsOfARoundedMatrix) {
  for (const std::int64_t rows : {0, 1, 17, 127}) {
    for (const std::int64_t columns : {0, 1, 17, 300}) {
      const Vector x = support::random_vector(rows * columns, 3);
      expect_as_on_cpu([&](Side& side) {
        const TensorView of_rows = side.unwritten({rows}), of_columns = side.unwritten({columns});
        const TensorView matrix = side.activations({rows, columns}, x);
        row_squared_norms(side.backend(), {.x = matrix, .out = of_rows});
        column_squared_norms(side.backend(), {.x = matrix, .out = of_columns});
        return Outputs{{"rows", of_rows, 1e-7}, {"columns", of_columns, 1e-7}};
      });
    }
  }
}

}  // namespace
}  // namespace shardora
