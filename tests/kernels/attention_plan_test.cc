// Calls that a plan covers, and calls that none does, give what the CPU gives: on a GPU the first are cuDNN's, where it
// serves them, and the second our own kernels'.
#include "tests/kernels/attention_reference.h"
#include "tests/support/bf16_test.h"

namespace shardora {
namespace {

using support::AttentionCase;
using support::Output;
using support::Outputs;
using support::Side;
using Lengths = std::vector<std::int64_t>;

class PlannedAttention : public support::Bf16Test {
 protected:
  static AttentionCase packed(const Lengths& lengths, AttentionMask mask = {}) {
    return {.query_lengths = lengths, .key_lengths = lengths, .heads = 4, .kv_heads = 2, .dim = 16, .mask = mask};
  }
  static AttentionPlan plan_of(const AttentionCase& c, DType dtype) {
    return {.heads = c.heads,
            .kv_heads = c.kv_heads,
            .head_dim = c.dim,
            .most_tokens = std::max<std::int64_t>(c.queries(), 1),
            .most_sequences = std::max<std::int64_t>(std::ssize(c.query_lengths), 1),
            .longest = longest_of(c),
            .mask = c.mask,
            .dtype = dtype};
  }
  static std::int64_t longest_of(const AttentionCase& c) {
    return std::max<std::int64_t>(1, *std::max_element(c.query_lengths.begin(), c.query_lengths.end()));
  }

  static Outputs run(Side& side, const AttentionCase& c) {
    const TensorView offsets = side.ints(support::offsets(c.query_lengths));
    const AttentionForward forward{
        .q = side.activations(c.q_shape(), support::random_vector(c.q_shape().elements(), 1)),
        .k = side.activations(c.k_shape(), support::random_vector(c.k_shape().elements(), 2)),
        .v = side.activations(c.k_shape(), support::random_vector(c.k_shape().elements(), 3)),
        .query_offsets = offsets,
        .key_offsets = offsets,
        .longest = longest_of(c),
        .mask = c.mask,
        .scale = c.scale,
        .o = side.unwritten_activations(c.q_shape()),
        .lse = side.unwritten({c.queries(), c.heads})};
    const AttentionBackward backward{
        .forward = forward,
        .d_o = side.activations(c.q_shape(), support::random_vector(c.q_shape().elements(), 4)),
        .dq = side.unwritten_activations(c.q_shape()),
        .dk = side.unwritten_activations(c.k_shape()),
        .dv = side.unwritten_activations(c.k_shape())};
    attention_forward(side.backend(), forward);
    attention_backward(side.backend(), backward);
    // Scores and o are rounded on the way, and gradients are sums of terms that cancel.
    constexpr double kGradient = 4 * support::kBf16;
    return {{.name = "o", .view = forward.o},
            {.name = "lse", .view = forward.lse, .tolerance = 1e-4},
            {.name = "dq", .view = backward.dq, .tolerance = kGradient},
            {.name = "dk", .view = backward.dk, .tolerance = kGradient},
            {.name = "dv", .view = backward.dv, .tolerance = kGradient}};
  }

  void expect_planned(const AttentionCase& c) {
    expect_as_on_cpu([&](Side& side) {
      prepare_attention(side.backend(), plan_of(c, side.activation_type()));
      return run(side, c);
    });
  }
};

TEST_F(PlannedAttention, SequencesOfEveryLength) { expect_planned(packed({17, 1, 0, 40, 3})); }
TEST_F(PlannedAttention, OneSequence) { expect_planned(packed({33})); }
TEST_F(PlannedAttention, OneToken) { expect_planned(packed({1})); }
TEST_F(PlannedAttention, NoToken) { expect_planned(packed({0, 0})); }
TEST_F(PlannedAttention, EveryHeadItsOwnKeys) {
  AttentionCase c = packed({5, 9, 2});
  c.kv_heads = 4;
  expect_planned(c);
}
TEST_F(PlannedAttention, Window) { expect_planned(packed({30, 4, 12}, {.kind = MaskKind::kWindow, .window = 5})); }
TEST_F(PlannedAttention, WindowOfOneKey) { expect_planned(packed({9, 4}, {.kind = MaskKind::kWindow, .window = 1})); }
TEST_F(PlannedAttention, WindowBeyondTheLongest) {
  expect_planned(packed({9, 4}, {.kind = MaskKind::kWindow, .window = 1000}));
}
TEST_F(PlannedAttention, Full) { expect_planned(packed({11, 7, 1}, {.kind = MaskKind::kFull})); }
TEST_F(PlannedAttention, HeadsThatNoLibraryServes) {
  AttentionCase c = packed({6, 3});
  c.dim = 12;
  expect_planned(c);
}

TEST_F(PlannedAttention, ASmallerCallThanPlannedTakesASmallerGraph) {
  expect_as_on_cpu([](Side& side) {
    prepare_attention(side.backend(), plan_of(packed({20, 20, 20, 20, 20}), side.activation_type()));
    return run(side, packed({7, 20}));
  });
}

TEST_F(PlannedAttention, ALargerCallThanPlannedIsServedToo) {
  expect_as_on_cpu([](Side& side) {
    prepare_attention(side.backend(), plan_of(packed({20, 3}), side.activation_type()));
    return run(side, packed({21, 3}));
  });
}

TEST_F(PlannedAttention, AnotherMaskHasAPlanOfItsOwn) {
  const AttentionCase causal = packed({20, 30}), window = packed({20, 30}, {.kind = MaskKind::kWindow, .window = 3});
  expect_as_on_cpu([&](Side& side) {
    prepare_attention(side.backend(), plan_of(causal, side.activation_type()));
    prepare_attention(side.backend(), plan_of(window, side.activation_type()));
    Outputs both = run(side, causal);
    for (const Output& output : run(side, window)) both.push_back(output);
    return both;
  });
}

}  // namespace
}  // namespace shardora
