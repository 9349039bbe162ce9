// Calls that a plan covers, and calls that none does, against float64: on a GPU the first are cuDNN's, where it serves
// them, and the second our own kernels'.
#include "tests/kernels/attention_reference.h"

namespace shardora {
namespace {

using support::AttentionCase;
using Lengths = std::vector<std::int64_t>;

class PlannedAttention : public support::ActivationTest {
 protected:
  static AttentionCase packed(const Lengths& lengths, AttentionMask mask = {}) {
    return {.query_lengths = lengths, .key_lengths = lengths, .heads = 4, .kv_heads = 2, .dim = 16, .mask = mask};
  }
  static AttentionPlan plan_of(const AttentionCase& c) {
    return {.heads = c.heads,
            .kv_heads = c.kv_heads,
            .head_dim = c.dim,
            .most_tokens = std::max<std::int64_t>(c.queries(), 1),
            .most_sequences = std::max<std::int64_t>(std::ssize(c.query_lengths), 1),
            .longest = longest_of(c),
            .mask = c.mask,
            .dtype = GetParam()};
  }
  static std::int64_t longest_of(const AttentionCase& c) {
    return std::max<std::int64_t>(1, *std::max_element(c.query_lengths.begin(), c.query_lengths.end()));
  }

  void run(const AttentionCase& c) {
    const support::Vector q = drawn(c.q_shape().elements(), 1), d_o = drawn(c.q_shape().elements(), 4);
    const support::Vector k = drawn(c.k_shape().elements(), 2), v = drawn(c.k_shape().elements(), 3);
    const TensorView offsets = ints(support::offsets(c.query_lengths));
    const AttentionForward forward{.q = activations(c.q_shape(), q),
                                   .k = activations(c.k_shape(), k),
                                   .v = activations(c.k_shape(), v),
                                   .query_offsets = offsets,
                                   .key_offsets = offsets,
                                   .longest = longest_of(c),
                                   .mask = c.mask,
                                   .scale = c.scale,
                                   .o = unwritten_activations(c.q_shape()),
                                   .lse = unwritten({c.queries(), c.heads})};
    const AttentionBackward backward{.forward = forward,
                                     .d_o = activations(c.q_shape(), d_o),
                                     .dq = unwritten_activations(c.q_shape()),
                                     .dk = unwritten_activations(c.k_shape()),
                                     .dv = unwritten_activations(c.k_shape())};
    attention_forward(*backend_, forward);
    attention_backward(*backend_, backward);
    const support::AttentionResult expected = support::attention_reference(c, q, k, v, d_o);
    // Of bfloat16 scores and o are rounded on the way, and gradients are sums of terms that cancel.
    const double rounding = narrow() ? support::kBf16 : 4e-6, gradient = narrow() ? 4 * rounding : rounding;
    support::expect_close(read(forward.o), expected.o, rounding, "o");
    support::expect_close(read(forward.lse), expected.lse, narrow() ? 1e-4 : rounding, "lse");
    support::expect_close(read(backward.dq), expected.dq, gradient, "dq", 1);  // of one key they are 0
    support::expect_close(read(backward.dk), expected.dk, gradient, "dk", 1);
    support::expect_close(read(backward.dv), expected.dv, gradient, "dv");
  }

  void expect_planned(const AttentionCase& c) {
    prepare_attention(*backend_, plan_of(c));
    run(c);
  }
};

TEST_P(PlannedAttention, SequencesOfEveryLength) { expect_planned(packed({17, 1, 0, 40, 3})); }
TEST_P(PlannedAttention, OneSequence) { expect_planned(packed({33})); }
TEST_P(PlannedAttention, OneToken) { expect_planned(packed({1})); }
TEST_P(PlannedAttention, NoToken) { expect_planned(packed({0, 0})); }
TEST_P(PlannedAttention, EveryHeadItsOwnKeys) {
  AttentionCase c = packed({5, 9, 2});
  c.kv_heads = 4;
  expect_planned(c);
}
TEST_P(PlannedAttention, Window) { expect_planned(packed({30, 4, 12}, {.kind = MaskKind::kWindow, .window = 5})); }
TEST_P(PlannedAttention, WindowOfOneKey) { expect_planned(packed({9, 4}, {.kind = MaskKind::kWindow, .window = 1})); }
TEST_P(PlannedAttention, WindowBeyondTheLongest) {
  expect_planned(packed({9, 4}, {.kind = MaskKind::kWindow, .window = 1000}));
}
TEST_P(PlannedAttention, Full) { expect_planned(packed({11, 7, 1}, {.kind = MaskKind::kFull})); }
TEST_P(PlannedAttention, HeadsThatNoLibraryServes) {
  AttentionCase c = packed({6, 3});
  c.dim = 12;
  expect_planned(c);
}

TEST_P(PlannedAttention, ASmallerCallThanPlannedTakesASmallerGraph) {
  prepare_attention(*backend_, plan_of(packed({20, 20, 20, 20, 20})));
  run(packed({7, 20}));
}

TEST_P(PlannedAttention, ALargerCallThanPlannedIsServedToo) {
  prepare_attention(*backend_, plan_of(packed({20, 3})));
  run(packed({21, 3}));
}

TEST_P(PlannedAttention, AnotherMaskHasAPlanOfItsOwn) {
  const AttentionCase causal = packed({20, 30}), window = packed({20, 30}, {.kind = MaskKind::kWindow, .window = 3});
  prepare_attention(*backend_, plan_of(causal));
  prepare_attention(*backend_, plan_of(window));
  run(causal);
  run(window);
}

SHARDORA_OVER_TYPES(PlannedAttention);

}  // namespace
}  // namespace shardora
