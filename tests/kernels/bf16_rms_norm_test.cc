// RMSNorm of bfloat16 rows: narrow ones as of a head, wide ones, and some that no pack of 16 bytes fits.
#include "kernels/rms_norm.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::Outputs;
using support::random_vector;
using support::Side;

struct RoundedNormCase {
  std::int64_t rows, width;
};
const RoundedNormCase kRoundedNormCases[] = {{0, 128},  {1, 1},   {17, 127}, {35, 64},
                                             {33, 128}, {9, 320}, {3, 2056}, {2, 2049}};

class Bf16RmsNorm : public support::Bf16Test {};

TEST_F(Bf16RmsNorm, ForwardIsTheCpusRounded) {
  for (const auto& [rows, width] : kRoundedNormCases) {
    for (const bool in_place : {false, true}) {
      expect_as_on_cpu([&, rows = rows, width = width](Side& side) {
        const TensorView x = side.activations({rows, width}, random_vector(rows * width, 1));
        const TensorView y = in_place ? x : side.unwritten_activations({rows, width}), rstd = side.unwritten({rows});
        rms_norm_forward(side.backend(),
                         {.x = x, .weight = side.floats(random_vector(width, 2)), .y = y, .rstd = rstd});
        return Outputs{{"y", y}, {"rstd", rstd}};
      });
    }
  }
}

TEST_F(Bf16RmsNorm, BackwardIsTheCpusRoundedAndTheWeightsGradientIsNot) {
  for (const auto& [rows, width] : kRoundedNormCases) {
    for (const bool accumulate : {false, true}) {
      expect_as_on_cpu([&, rows = rows, width = width](Side& side) {
        const TensorView dx = side.activations({rows, width}, random_vector(rows * width, 3));
        const TensorView dweight = side.floats(random_vector(width, 4));
        rms_norm_backward(side.backend(), {.dy = side.activations({rows, width}, random_vector(rows * width, 5)),
                                           .x = side.activations({rows, width}, random_vector(rows * width, 6)),
                                           .weight = side.floats(random_vector(width, 7)),
                                           .rstd = side.floats(random_vector(rows, 8, 0.5, 2)),
                                           .dx = dx,
                                           .accumulate = accumulate,
                                           .dweight = dweight});
        return Outputs{{"dx", dx}, {"dweight", dweight}};
      });
    }
  }
}

}  // namespace
}  // namespace shardora
