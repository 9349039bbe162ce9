// Attention on bfloat16 activations: sums in fp32, p and ds rounded to bfloat16 on their way into a product.
#include "kernels/attention.h"
#include "tests/kernels/attention_reference.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::AttentionCase;
using support::Output;
using support::Outputs;
using support::Side;

class Bf16Attention : public support::Bf16Test {
 protected:
  static Outputs run(Side& side, const AttentionCase& c) {
    const auto random = [](const Shape& shape, unsigned seed) {
      return support::random_vector(shape.elements(), seed);
    };
    const AttentionForward forward{.q = side.activations(c.q_shape(), random(c.q_shape(), 1)),
                                   .k = side.activations(c.k_shape(), random(c.k_shape(), 2)),
                                   .v = side.activations(c.k_shape(), random(c.k_shape(), 3)),
                                   .query_offsets = side.ints(support::offsets(c.query_lengths)),
                                   .key_offsets = side.ints(support::offsets(c.key_lengths)),
                                   .mask = c.mask,
                                   .scale = c.scale,
                                   .o = side.unwritten_activations(c.q_shape()),
                                   .lse = side.unwritten({c.queries(), c.heads})};
    const AttentionBackward backward{.forward = forward,
                                     .d_o = side.activations(c.q_shape(), random(c.q_shape(), 4)),
                                     .dq = side.unwritten_activations(c.q_shape()),
                                     .dk = side.unwritten_activations(c.k_shape()),
                                     .dv = side.unwritten_activations(c.k_shape())};
    attention_forward(side.backend(), forward);
    attention_backward(side.backend(), backward);
    // Terms of dq and dk are about 1, also where they cancel. p is rounded, and delta comes from a rounded o.
    constexpr double kTwice = 2 * support::kBf16;
    return {{"o", forward.o},
            {"lse", forward.lse, 4e-6},
            {"dq", backward.dq, kTwice, 1.0},
            {"dk", backward.dk, kTwice, 1.0},
            {"dv", backward.dv, kTwice}};
  }

  void expect_as_fp32(const AttentionCase& c) {
    SCOPED_TRACE(testing::Message() << "mask " << static_cast<int>(c.mask.kind) << " window " << c.mask.window
                                    << " head size " << c.dim);
    expect_as_on_cpu([&](Side& side) { return run(side, c); });
  }
};

AttentionCase packed(const std::vector<std::int64_t>& lengths, std::int64_t dim, AttentionMask mask) {
  return {.query_lengths = lengths, .key_lengths = lengths, .heads = 2, .kv_heads = 1, .dim = dim, .mask = mask};
}

const std::vector<AttentionMask> kRoundedMasks = {{MaskKind::kFull, 0},    {MaskKind::kCausal, 0},
                                                  {MaskKind::kWindow, 1},  {MaskKind::kWindow, 17},
                                                  {MaskKind::kWindow, 70}, {MaskKind::kWindow, 1000}};

TEST_F(Bf16Attention, MatchesFp32UnderEveryMaskAndAcrossTiles) {
  for (const AttentionMask& mask : kRoundedMasks) expect_as_fp32(packed({17, 1, 0, 150}, 16, mask));
}

TEST_F(Bf16Attention, MatchesFp32WhereQueriesContinueALongerKeyRange) {
  for (const AttentionMask& mask : kRoundedMasks) {
    AttentionCase c = packed({1, 17, 0, 65}, 24, mask);
    c.key_lengths = {130, 18, 19, 127};
    expect_as_fp32(c);
  }
}

TEST_F(Bf16Attention, MatchesFp32AtEveryKindOfHeadSize) {
  for (const std::int64_t dim : {1, 17, 32, 40, 64, 80, 127, 128, 200, 256}) {
    AttentionCase c = packed({40, 3}, dim, {MaskKind::kCausal, 0});
    c.scale = 1.0F / std::sqrt(static_cast<float>(dim));
    expect_as_fp32(c);
  }
}

TEST_F(Bf16Attention, MatchesFp32AtEveryKindOfHeadGrouping) {
  for (const auto& [heads, kv_heads] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 3}, {6, 2}, {5, 1}}) {
    SCOPED_TRACE(testing::Message() << heads << " heads on " << kv_heads);
    AttentionCase c = packed({33, 18}, 16, {MaskKind::kCausal, 0});
    c.heads = heads;
    c.kv_heads = kv_heads;
    expect_as_fp32(c);
  }
}

TEST_F(Bf16Attention, GivesTheSameBitsEachTime) {
  const AttentionCase c = packed({70, 33}, 32, {MaskKind::kCausal, 0});
  std::vector<support::Vector> first;
  for (int repeat = 0; repeat < 3; ++repeat) {
    Side side(*backend_, DType::kBF16);
    std::vector<support::Vector> values;
    for (const Output& output : run(side, c)) values.push_back(side.read(output.view));
    if (repeat == 0) first = values;
    EXPECT_EQ(values, first);
  }
}

}  // namespace
}  // namespace shardora
