// The frozen weight in bfloat16 under activations of either type.
#include "kernels/weight_matrix.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::Side;
using support::Vector;

class Bf16Weight : public support::Bf16Test {
 protected:
  static std::unique_ptr<WeightMatrix> frozen(Backend& backend, std::int64_t out, std::int64_t in) {
    const Vector w = support::random_vector(out * in, 1);
    const std::vector<float> host(w.begin(), w.end());
    return make_frozen_matrix(backend, {.out_features = out, .in_features = in, .storage = DType::kBF16},
                              view_of(std::span(host), {out, in}));
  }
  void compare(std::int64_t tokens, std::int64_t out, std::int64_t in, bool accumulate, bool wide) {
    SCOPED_TRACE(testing::Message() << tokens << " tokens, " << out << "x" << in << (accumulate ? " +=" : " =")
                                    << (wide ? " fp32" : " bf16"));
    expect_as_on_cpu([&](Side& side) {
      const auto weight = frozen(side.backend(), out, in);
      const Vector y0 = support::rounded_to_bf16(support::random_vector(tokens * out, 4));
      const Vector dx0 = support::rounded_to_bf16(support::random_vector(tokens * in, 5));
      const TensorView y = wide ? side.floats({tokens, out}, y0) : side.activations({tokens, out}, y0);
      const TensorView dx = wide ? side.floats({tokens, in}, dx0) : side.activations({tokens, in}, dx0);
      weight->forward(side.activations({tokens, in}, support::random_vector(tokens * in, 2)), y, accumulate);
      weight->input_gradient(side.activations({tokens, out}, support::random_vector(tokens * out, 3)), dx, accumulate);
      return Outputs{{"y", y}, {"dx", dx}};
    });
  }
};

TEST_F(Bf16Weight, ProductsAreThoseOfFp32) {
  for (const std::int64_t tokens : {0, 1, 17}) {
    for (const bool accumulate : {false, true}) {
      for (const bool wide : {false, true}) {
        compare(tokens, 17, 33, accumulate, wide);
        compare(tokens, 64, 40, accumulate, wide);
        compare(tokens, 1, 127, accumulate, wide);
        compare(tokens, 0, 5, accumulate, wide);
        compare(tokens, 5, 0, accumulate, wide);
      }
    }
  }
}

// 24 bits of x, 8 of w: one product is exact but for the rounding at its end.
TEST_F(Bf16Weight, NoBitOfFp32ActivationsIsLost) {
  const std::vector<float> one = {1.0F};
  const auto weight = make_frozen_matrix(*backend_, {.out_features = 1, .in_features = 1, .storage = DType::kBF16},
                                         view_of(std::span(one), {1, 1}));
  Vector x = support::random_vector(1000, 6);
  for (const double special : {0x1.fffffep0, -0x1.fffffep0, 0x1.000002p-100, 0x1.0101p100, 0.0, 0x1p-126}) {
    x.push_back(special);
  }
  Side side(*backend_, DType::kBF16);
  const TensorView y = side.unwritten({std::ssize(x), 1});
  weight->forward(side.floats({std::ssize(x), 1}, x), y, false);
  EXPECT_EQ(side.read(y), x);
}

// More rows than are split at a time.
TEST_F(Bf16Weight, ManyRowsOfFp32ActivationsAreMultipliedInTurn) {
  constexpr std::int64_t kIn = 3001, kRows = 500;
  expect_as_on_cpu([&](Side& side) {
    const auto weight = frozen(side.backend(), 1, kIn);
    const TensorView y = side.floats({kRows, 1}, support::random_vector(kRows, 4));
    weight->forward(side.floats({kRows, kIn}, support::random_vector(kRows * kIn, 2)), y, true);
    return Outputs{{"y", y}};
  });
}

// A weight that is converted in more than one piece, to the same bits as on the CPU.
TEST_F(Bf16Weight, LargeWeightsAreRoundedAsOnTheCpu) {
  constexpr std::int64_t kOut = 2100, kIn = 1003, kFirst = kOut - 30;
  std::vector<Vector> rows;
  for (Backend* const backend : {backend_.get(), reference_.get()}) {
    Side side(*backend, DType::kF32);
    const TensorView last = side.unwritten({kOut - kFirst, kIn});
    frozen(*backend, kOut, kIn)->read_rows(kFirst, last);
    rows.push_back(side.read(last));
  }
  EXPECT_EQ(rows[0], rows[1]);
}

TEST_F(Bf16Weight, Bfloat16ActivationsOnAnFp32WeightAreRefused) {
  Side side(*backend_, DType::kBF16);
  const std::vector<float> host(15, 1.0F);
  const auto weight =
      make_frozen_matrix(*backend_, {.out_features = 3, .in_features = 5}, view_of(std::span(host), {3, 5}));
  EXPECT_ANY_THROW(weight->forward(side.unwritten_activations({2, 5}), side.unwritten({2, 3}), false));
}

}  // namespace
}  // namespace shardora
