// Attention, causal, sequences of up to 1024 tokens: 2 products forward and 5 backward of length^2 / 2 each.
#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "tests/bench/ops.h"

namespace shardora::bench {
namespace {

constexpr std::int64_t kLongest = 1024;

AttentionForward forward_call(Room& r, const Sizes& s, std::int64_t kv_heads) {
  const std::int64_t length = std::min(s.tokens, kLongest);
  const TensorView offsets = r.ascending(s.tokens / length + 1, length);
  return {.q = r.floats({s.tokens, s.heads(), s.head_dim()}),
          .k = r.floats({s.tokens, kv_heads, s.head_dim()}),
          .v = r.floats({s.tokens, kv_heads, s.head_dim()}),
          .query_offsets = offsets,
          .key_offsets = offsets,
          .scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim())),
          .o = r.floats({s.tokens, s.heads(), s.head_dim()}),
          .lse = r.floats({s.tokens, s.heads()})};
}

double pass_flops(const Sizes& s) {  // one product of length^2 / 2
  return static_cast<double>(s.tokens * std::min(s.tokens, kLongest) * s.hidden);
}

Measurement forward(Room& r, const Sizes& s, std::int64_t kv_heads) {
  const AttentionForward op = forward_call(r, s, kv_heads);
  return {.call = [op, &b = r.backend] { attention_forward(b, op); },
          .flops = 2 * pass_flops(s),
          .reference = r.references.product(s.tokens, s.hidden, s.hidden)};
}

Measurement backward(Room& r, const Sizes& s, std::int64_t kv_heads) {
  const AttentionForward op = forward_call(r, s, kv_heads);
  attention_forward(r.backend, op);
  const AttentionBackward back{.forward = op,
                               .d_o = r.floats(op.o.shape),
                               .dq = r.floats(op.q.shape),
                               .dk = r.floats(op.k.shape),
                               .dv = r.floats(op.v.shape)};
  return {.call = [back, &b = r.backend] { attention_backward(b, back); },
          .flops = 5 * pass_flops(s),
          .reference = r.references.product(s.tokens, s.hidden, s.hidden)};
}

}  // namespace

void add_attention(Registry& registry) {
  registry.add("attention_forward", [](Room& r, const Sizes& s) { return forward(r, s, s.heads()); });
  registry.add("attention_backward", [](Room& r, const Sizes& s) { return backward(r, s, s.heads()); });
  registry.add("attention_forward_grouped", [](Room& r, const Sizes& s) { return forward(r, s, s.heads() / 2); });
  registry.add("attention_backward_grouped", [](Room& r, const Sizes& s) { return backward(r, s, s.heads() / 2); });
}

}  // namespace shardora::bench
