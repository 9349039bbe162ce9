// Products of bfloat16 matrices.
#include "kernels/linear.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::Side;

class Bf16Linear : public support::Bf16Test {
 protected:
  struct Kind {
    bool transpose_a, transpose_b, accumulate, wide;  // wide: c is fp32
  };
  void compare(std::int64_t m, std::int64_t k, std::int64_t n, Kind kind) {
    SCOPED_TRACE(testing::Message() << m << "x" << k << "x" << n << (kind.transpose_a ? " A^T" : "")
                                    << (kind.transpose_b ? " B^T" : "") << (kind.accumulate ? " +=" : " =")
                                    << (kind.wide ? " fp32" : " bf16"));
    expect_as_on_cpu([&](Side& side) {
      const support::Vector start = support::rounded_to_bf16(
          kind.accumulate ? support::random_vector(m * n, 3)
                          : support::Vector(support::index(m * n), std::numeric_limits<double>::quiet_NaN()));
      const TensorView c = kind.wide ? side.floats({m, n}, start) : side.activations({m, n}, start);
      matmul(side.backend(),
             {.a = side.activations(kind.transpose_a ? Shape{k, m} : Shape{m, k}, support::random_vector(m * k, 1)),
              .b = side.activations(kind.transpose_b ? Shape{n, k} : Shape{k, n}, support::random_vector(k * n, 2)),
              .c = c,
              .transpose_a = kind.transpose_a,
              .transpose_b = kind.transpose_b,
              .scale = 0.75F,
              .accumulate = kind.accumulate});
      return Outputs{{"c", c}};
    });
  }
};

TEST_F(Bf16Linear, ProductIsThatOfFp32AtEverySizeAndTransposition) {
  for (const std::int64_t m : {0, 1, 17, 65}) {
    for (const std::int64_t k : {0, 1, 17, 65}) {
      for (const std::int64_t n : {0, 1, 17, 65}) {
        for (unsigned bits = 0; bits < 16; ++bits) {
          compare(m, k, n, {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0});
        }
      }
    }
  }
}

// A sum that bfloat16 could not hold on the way: 1 + 2^-8 + 2^-8 + ... stays 1 where partial sums are rounded.
TEST_F(Bf16Linear, SumsAreNotRoundedOnTheWay) {
  constexpr std::int64_t kTerms = 257;
  Side side(*backend_, DType::kBF16);
  support::Vector a(kTerms, 1.0 / 256);
  a[0] = 1;
  const TensorView c = side.unwritten_activations({1, 1});
  matmul(*backend_, {.a = side.activations({1, kTerms}, a),
                     .b = side.activations({kTerms, 1}, support::Vector(kTerms, 1.0)),
                     .c = c});
  EXPECT_EQ(side.read(c), support::Vector{2.0});
}

TEST_F(Bf16Linear, AProductIsRefusedWhereTypesDiffer) {
  Side side(*backend_, DType::kBF16);
  const TensorView narrow = side.unwritten_activations({3, 3}), wide = side.unwritten({3, 3});
  EXPECT_ANY_THROW(matmul(*backend_, {.a = narrow, .b = wide, .c = side.unwritten({3, 3})}));
  EXPECT_ANY_THROW(matmul(*backend_, {.a = wide, .b = side.unwritten({3, 3}), .c = narrow}));
}

}  // namespace
}  // namespace shardora
