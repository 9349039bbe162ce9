// Passes over activations: norms, rotation, gate, embedding, loss, dropout, moves of rows.
#include <algorithm>

#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/random.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/bench/ops.h"

namespace shardora::bench {
namespace {

constexpr std::int64_t kVocabulary = 32000, kLossRows = 256, kTableRows = 6400;

// An operation that moves `bytes`.
template <class Op>
Measurement pass(Room& room, void (*function)(Backend&, const Op&), const Op& op, double bytes) {
  return {.call = [op, function, &backend = room.backend] { function(backend, op); },
          .bytes = bytes,
          .reference = room.references.copy()};
}

void add_norms(Registry& registry) {
  registry.add("rms_norm_forward", [](Room& r, const Sizes& s) {
    const RmsNormForward op{.x = r.floats({s.tokens, s.hidden}),
                            .weight = r.floats({s.hidden}),
                            .y = r.floats({s.tokens, s.hidden}),
                            .rstd = r.floats({s.tokens})};
    return pass(r, rms_norm_forward, op, bytes_of({op.x, op.y, op.rstd}));
  });
  registry.add("rms_norm_backward", [](Room& r, const Sizes& s) {
    const RmsNormBackward op{.dy = r.floats({s.tokens, s.hidden}),
                             .x = r.floats({s.tokens, s.hidden}),
                             .weight = r.floats({s.hidden}),
                             .rstd = r.floats({s.tokens}),
                             .dx = r.floats({s.tokens, s.hidden}),
                             .accumulate = true};
    return pass(r, rms_norm_backward, op, bytes_of({op.dy, op.x, op.dx, op.dx}));
  });
}

// The product of an adapted layer: DoRA's gain is applied by the pass that reads it.
LinearProduct gained(Room& room, const Shape& shape) {
  const std::int64_t width = shape.elements() / shape[0];
  return {.u = room.floats(shape), .gain = room.uniform({width}, 0.9F, 1.1F)};
}

void add_rope(Registry& registry) {
  const auto table = [](Room& r, const Sizes& s) {
    const Shape shape{1024, s.head_dim() / 2};
    return RopeTable{.cosines = r.uniform(shape, 0.6F, 0.8F), .sines = r.uniform(shape, 0.6F, 0.8F)};
  };
  registry.add("rope_forward", [table](Room& r, const Sizes& s) {
    const Shape shape{s.tokens, s.heads(), s.head_dim()};
    const RopeForward op{
        .x = gained(r, shape), .positions = r.ints(s.tokens, 1024), .table = table(r, s), .y = r.floats(shape)};
    return pass(r, rope_forward, op, bytes_of({op.x.u, op.y}));
  });
  registry.add("rope_backward", [table](Room& r, const Sizes& s) {
    const Shape shape{s.tokens, s.heads(), s.head_dim()};
    const RopeBackward op{.dy = r.floats(shape),
                          .x = gained(r, shape),
                          .positions = r.ints(s.tokens, 1024),
                          .table = table(r, s),
                          .dx = {.du = r.floats(shape), .h = r.floats({s.hidden})}};
    return pass(r, rope_backward, op, bytes_of({op.dy, op.x.u, op.dx.du}));
  });
}

void add_gates(Registry& registry) {
  registry.add("swiglu_forward", [](Room& r, const Sizes& s) {
    const Shape shape{s.tokens, s.intermediate()};
    const SwigluForward op{.gate = gained(r, shape), .up = gained(r, shape), .y = r.floats(shape)};
    return pass(r, swiglu_forward, op, bytes_of({op.gate.u, op.up.u, op.y}));
  });
  registry.add("swiglu_backward", [](Room& r, const Sizes& s) {
    const Shape shape{s.tokens, s.intermediate()};
    const SwigluBackward op{.dy = r.floats(shape),
                            .gate = gained(r, shape),
                            .up = gained(r, shape),
                            .dgate = {.du = r.floats(shape), .h = r.floats({s.intermediate()})},
                            .dup = {.du = r.floats(shape), .h = r.floats({s.intermediate()})}};
    return pass(r, swiglu_backward, op, bytes_of({op.dy, op.gate.u, op.up.u, op.dgate.du, op.dup.du}));
  });
}

void add_rows(Registry& registry) {
  registry.add("add", [](Room& r, const Sizes& s) {
    const Add op{.x = r.uniform({s.tokens, s.hidden}, -1e-6F, 1e-6F), .y = r.floats({s.tokens, s.hidden})};
    return pass(r, add, op, bytes_of({op.x, op.y, op.y}));
  });
  registry.add("column_sum", [](Room& r, const Sizes& s) {
    const ColumnSum op{.dy = r.floats({s.tokens, s.hidden}), .dbias = r.floats({s.hidden})};
    return pass(r, column_sum, op, bytes_of({op.dy}));
  });
  registry.add("gather_rows", [](Room& r, const Sizes& s) {
    const GatherScatter op{.from = r.floats({s.tokens, s.hidden}),
                           .rows = r.ascending(s.tokens / 2, 2),
                           .to = r.floats({s.tokens / 2, s.hidden})};
    return pass(r, gather_rows, op, bytes_of({op.to, op.to}));
  });
  registry.add("scatter_rows", [](Room& r, const Sizes& s) {
    const GatherScatter op{.from = r.floats({s.tokens / 2, s.hidden}),
                           .rows = r.ascending(s.tokens / 2, 2),
                           .to = r.floats({s.tokens, s.hidden})};
    return pass(r, scatter_rows, op, bytes_of({op.from, op.to}));
  });
  registry.add("dropout", [](Room& r, const Sizes& s) {
    const Dropout op{.x = r.floats({s.tokens, s.hidden}),
                     .y = r.floats({s.tokens, s.hidden}),
                     .key = random_key(1, "bench"),
                     .sequence_indices = r.places(s.tokens),
                     .positions = r.ascending(s.tokens, 1),
                     .probability = 0.1F};
    return pass(r, dropout, op, bytes_of({op.x, op.y}));
  });
}

void add_embedding(Registry& registry) {
  registry.add("embedding_gather", [](Room& r, const Sizes& s) {
    const EmbeddingGather op{.table = r.floats({kTableRows, s.hidden}),
                             .ids = r.ints(s.tokens, kTableRows),
                             .y = r.floats({s.tokens, s.hidden})};
    return pass(r, embedding_gather, op, bytes_of({op.y, op.y}));
  });
  registry.add("embedding_scatter", [](Room& r, const Sizes& s) {
    const EmbeddingScatter op{.dy = r.uniform({s.tokens, s.hidden}, -1e-6F, 1e-6F),
                              .ids = r.ints(s.tokens, kTableRows),
                              .dtable = r.floats({kTableRows, s.hidden})};
    return pass(r, embedding_scatter, op, bytes_of({op.dy, op.dy, op.dy}));
  });
}

// The head's chunk; its width is the vocabulary, whatever the hidden size, so it is registered with the others' sizes
// but changes only with the rows. The gradient scale keeps the logits, which it overwrites, in range.
CrossEntropy loss_call(Room& r, const Sizes& s) {
  const std::int64_t rows = std::min(s.tokens, kLossRows);
  return {.logits = r.floats({rows, kVocabulary}),
          .targets = r.ints(rows, kVocabulary),
          .row_max = r.uniform({rows}, 2, 3),
          .sums = r.uniform({2, rows}, 1000, 2000),
          .loss = r.doubles(2)};
}

void add_loss(Registry& registry) {
  registry.add("cross_entropy_max", [](Room& r, const Sizes& s) {
    const CrossEntropy op = loss_call(r, s);
    return pass(r, cross_entropy_max, op, bytes_of({op.logits}));
  });
  registry.add("cross_entropy_sum", [](Room& r, const Sizes& s) {
    const CrossEntropy op = loss_call(r, s);
    return pass(r, cross_entropy_sum, op, bytes_of({op.logits}));
  });
  registry.add("cross_entropy_finish", [](Room& r, const Sizes& s) {
    const CrossEntropy op = loss_call(r, s);
    return pass(r, cross_entropy_finish, op, 2 * bytes_of({op.logits}));
  });
}

}  // namespace

void add_activations(Registry& registry) {
  add_norms(registry);
  add_rope(registry);
  add_gates(registry);
  add_rows(registry);
  add_embedding(registry);
  add_loss(registry);
}

}  // namespace shardora::bench
