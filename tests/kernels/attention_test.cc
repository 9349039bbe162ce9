// Attention against float64; its backward also against finite differences; who sees whom, exactly.
#include "kernels/attention.h"

#include "tests/kernels/attention_reference.h"

namespace shardora {
namespace {

using support::AttentionCase;
using support::AttentionResult;
using support::Vector;

// Scores are sums over head_dim and p is their exponential, so errors grow a little beyond a plain sum's.
constexpr double kTolerance = 4e-6;

struct Inputs {
  Vector q, k, v, d_o;
};

struct AttentionOutputs {
  std::vector<float> o, lse, dq, dk, dv;
  bool operator==(const AttentionOutputs&) const = default;
};

class Attention : public support::ActivationTest {
 protected:
  static Inputs inputs(const AttentionCase& c) {
    return {.q = drawn(c.q_shape().elements(), 1),
            .k = drawn(c.k_shape().elements(), 2),
            .v = drawn(c.k_shape().elements(), 3),
            .d_o = drawn(c.q_shape().elements(), 4)};
  }

  AttentionOutputs run(const AttentionCase& c, const Inputs& in) {
    const AttentionForward forward{.q = activations(c.q_shape(), in.q),
                                   .k = activations(c.k_shape(), in.k),
                                   .v = activations(c.k_shape(), in.v),
                                   .query_offsets = ints(support::offsets(c.query_lengths)),
                                   .key_offsets = ints(support::offsets(c.key_lengths)),
                                   .mask = c.mask,
                                   .scale = c.scale,
                                   .o = unwritten_activations(c.q_shape()),
                                   .lse = unwritten({c.queries(), c.heads})};
    const AttentionBackward backward{.forward = forward,
                                     .d_o = activations(c.q_shape(), in.d_o),
                                     .dq = unwritten_activations(c.q_shape()),
                                     .dk = unwritten_activations(c.k_shape()),
                                     .dv = unwritten_activations(c.k_shape())};
    attention_forward(*backend_, forward);
    attention_backward(*backend_, backward);
    return {read(forward.o), read(forward.lse), read(backward.dq), read(backward.dk), read(backward.dv)};
  }

  // Of bfloat16 p and ds are rounded on their way into a product, delta comes from a rounded o, and terms of dq and dk
  // are about 1 also where they cancel.
  static void expect_near(const AttentionOutputs& out, const AttentionResult& expected) {
    const double of_o = narrow() ? support::kBf16 : kTolerance,
                 of_gradient = narrow() ? 2 * support::kBf16 : kTolerance;
    const double scale = narrow() ? 1 : 1e-30;
    support::expect_close(out.o, expected.o, of_o, "o");
    support::expect_close(out.lse, expected.lse, kTolerance, "lse");
    support::expect_close(out.dq, expected.dq, of_gradient, "dq", scale);
    support::expect_close(out.dk, expected.dk, of_gradient, "dk", scale);
    support::expect_close(out.dv, expected.dv, of_gradient, "dv");
  }

  void compare_with_float64(const AttentionCase& c) {
    const Inputs in = inputs(c);
    expect_near(run(c, in), support::attention_reference(c, in.q, in.k, in.v, in.d_o));
  }

  // Rows of fp32 that are no whole number of 16 bytes. Of bfloat16 they are, unless the head size is changed, and
  // fewer: the emulated tensor cores are slow.
  static AttentionCase packed(const std::vector<std::int64_t>& lengths, AttentionMask mask) {
    const std::int64_t kv_heads = narrow() ? 1 : 2;
    return {.query_lengths = lengths,
            .key_lengths = lengths,
            .heads = 2 * kv_heads,
            .kv_heads = kv_heads,
            .dim = narrow() ? 16 : 17,
            .mask = mask};
  }
};

const std::vector<AttentionMask> kMasks = {{MaskKind::kFull, 0},     {MaskKind::kCausal, 0},  {MaskKind::kWindow, 2},
                                           {MaskKind::kWindow, 17},  {MaskKind::kWindow, 64}, {MaskKind::kWindow, 70},
                                           {MaskKind::kWindow, 1000}};

TEST_P(Attention, MatchesFloat64UnderEveryMaskAndAcrossTiles) {
  for (const AttentionMask& mask : kMasks) {
    SCOPED_TRACE(testing::Message() << "mask " << static_cast<int>(mask.kind) << " window " << mask.window);
    compare_with_float64(packed({17, 1, 0, 127, 64, narrow() ? 150 : 200}, mask));
  }
}

TEST_P(Attention, AWindowOfOneCopiesEachTokensOwnValue) {
  AttentionCase c = packed({127, 17}, {MaskKind::kWindow, 1});
  c.kv_heads = c.heads;
  const Inputs in = inputs(c);
  const AttentionOutputs out = run(c, in);
  support::expect_close(out.o, in.v, 0, "o");
  support::expect_close(out.dv, in.d_o, kTolerance, "dv");
  for (const float value : out.dq) EXPECT_NEAR(value, 0, 1e-5);
}

TEST_P(Attention, MatchesFloat64WhereQueriesContinueALongerKeyRange) {
  for (const AttentionMask& mask : kMasks) {
    SCOPED_TRACE(testing::Message() << "mask " << static_cast<int>(mask.kind) << " window " << mask.window);
    AttentionCase c = packed({1, 17, 0, 65, 3}, mask);
    c.key_lengths = {130, 18, 19, 127, 3};
    if (narrow()) c.dim = 24;
    compare_with_float64(c);
  }
}

TEST_P(Attention, MatchesFloat64AtEveryKindOfHeadSize) {
  for (const std::int64_t dim : {1, 8, 16, 17, 31, 32, 40, 48, 64, 80, 127, 128, 200, 256}) {
    SCOPED_TRACE(dim);
    AttentionCase c = packed({narrow() ? 40 : 70, 19}, {MaskKind::kCausal, 0});
    c.dim = dim;
    c.scale = 1.0F / std::sqrt(static_cast<float>(dim));
    compare_with_float64(c);
  }
}

TEST_P(Attention, MatchesFloat64AtEveryKindOfHeadGrouping) {
  for (const auto& [heads, kv_heads] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 3}, {6, 2}, {7, 1}}) {
    SCOPED_TRACE(testing::Message() << heads << " heads on " << kv_heads);
    AttentionCase c = packed({33, 18}, {MaskKind::kCausal, 0});
    c.heads = heads;
    c.kv_heads = kv_heads;
    compare_with_float64(c);
  }
}

TEST_P(Attention, BackwardIsTheDerivativeOfForward) {
  AttentionCase c = packed({5, 3}, {MaskKind::kCausal, 0});
  c.key_lengths = {6, 3};
  c.dim = 3;
  const Inputs in = inputs(c);
  const AttentionOutputs out = run(c, in);
  const auto loss = [&](const Vector& q, const Vector& k, const Vector& v) {
    return support::dot(support::attention_reference(c, q, k, v, in.d_o).o, in.d_o);
  };
  const Vector dq = support::finite_difference([&](const Vector& q) { return loss(q, in.k, in.v); }, in.q);
  const Vector dk = support::finite_difference([&](const Vector& k) { return loss(in.q, k, in.v); }, in.k);
  const Vector dv = support::finite_difference([&](const Vector& v) { return loss(in.q, in.k, v); }, in.v);
  const double tolerance = narrow() ? 2 * support::kBf16 : kTolerance, scale = narrow() ? 1 : 1e-30;
  support::expect_close(out.dq, dq, tolerance, "dq", scale);
  support::expect_close(out.dk, dk, tolerance, "dk", scale);
  support::expect_close(out.dv, dv, tolerance, "dv");
}

TEST_P(Attention, LargeScoresNeitherOverflowNorLosePrecisionInTheirMaximum) {
  AttentionCase c = packed({127}, {MaskKind::kCausal, 0});
  c.scale = 40.0F;  // scores up to several hundred: exp of any of them is infinite in fp32
  const Inputs in = inputs(c);
  const AttentionOutputs out = run(c, in);
  const AttentionResult expected = support::attention_reference(c, in.q, in.k, in.v, in.d_o);
  const double tolerance = narrow() ? 2 * support::kBf16 : 3e-4;  // a score of 1000 is known to 6e-5 only
  support::expect_close(out.o, expected.o, tolerance, "o");
  support::expect_close(out.lse, expected.lse, kTolerance, "lse");
  support::expect_close(out.dv, expected.dv, tolerance, "dv");
}

// Everything about the first sequence changes, even to infinities; the second must not notice, in any bit.
TEST_P(Attention, OneSequenceChangesNothingInTheNext) {
  for (const AttentionMask& mask : kMasks) {
    const AttentionCase c = packed({19, 70}, mask);
    Inputs in = inputs(c);
    const AttentionOutputs before = run(c, in);
    for (std::int64_t i = 0; i < 19 * c.heads * c.dim; ++i) in.q[support::index(i)] = in.d_o[support::index(i)] = 1e30;
    for (std::int64_t i = 0; i < 19 * c.kv_heads * c.dim; ++i) in.k[support::index(i)] = in.v[support::index(i)] = 1e30;
    const AttentionOutputs after = run(c, in);
    const auto tail = [](const std::vector<float>& x, std::int64_t skipped) {
      return std::vector<float>(x.begin() + skipped, x.end());
    };
    EXPECT_NE(before.o, after.o);
    EXPECT_EQ(tail(before.o, 19 * c.heads * c.dim), tail(after.o, 19 * c.heads * c.dim));
    EXPECT_EQ(tail(before.lse, 19 * c.heads), tail(after.lse, 19 * c.heads));
    EXPECT_EQ(tail(before.dq, 19 * c.heads * c.dim), tail(after.dq, 19 * c.heads * c.dim));
    EXPECT_EQ(tail(before.dk, 19 * c.kv_heads * c.dim), tail(after.dk, 19 * c.kv_heads * c.dim));
    EXPECT_EQ(tail(before.dv, 19 * c.kv_heads * c.dim), tail(after.dv, 19 * c.kv_heads * c.dim));
  }
}

TEST_P(Attention, AKeyThatNobodySeesMayHoldAnyNumber) {
  AttentionCase c = packed({3}, {MaskKind::kWindow, 2});
  c.key_lengths = {40};
  Inputs in = inputs(c);
  const AttentionOutputs before = run(c, in);
  for (std::int64_t i = 0; i < 36 * c.kv_heads * c.dim; ++i) {
    in.k[support::index(i)] = in.v[support::index(i)] = 1e30;
  }
  EXPECT_EQ(run(c, in), before);
}

TEST_P(Attention, GivesTheSameBitsEachTime) {
  const AttentionCase c = packed({narrow() ? 70 : 127, 33, 64, 5}, {MaskKind::kCausal, 0});
  const Inputs in = inputs(c);
  const AttentionOutputs first = run(c, in);
  for (int repeat = 0; repeat < 3; ++repeat) EXPECT_EQ(run(c, in), first);
}

TEST_P(Attention, RefusesQueriesThatWouldSeeNoKey) {
  AttentionCase c = packed({5}, {MaskKind::kCausal, 0});
  c.key_lengths = {4};
  const Inputs in = inputs(c);
  EXPECT_ANY_THROW(run(c, in));
}

SHARDORA_OVER_TYPES(Attention);

}  // namespace
}  // namespace shardora
