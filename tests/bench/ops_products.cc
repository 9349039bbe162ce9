// Matrix products: frozen and trainable weights in both directions, the adapters' thin factors.
#include "kernels/linear.h"
#include "tests/bench/ops.h"

namespace shardora::bench {
namespace {

struct Features {
  std::int64_t out, in;
};

Measurement forward(Room& room, const Sizes& s, const Features& f) {
  const WeightMatrix& weight = room.frozen(f.out, f.in, s.tokens);
  const TensorView x = room.floats({s.tokens, f.in}), y = room.floats({s.tokens, f.out});
  return {.call = [=, &weight] { weight.forward(x, y, false); },
          .flops = product_flops(s.tokens, f.out, f.in),
          .reference = room.references.product(s.tokens, f.out, f.in)};
}

Measurement input_gradient(Room& room, const Sizes& s, const Features& f) {
  const WeightMatrix& weight = room.frozen(f.out, f.in, s.tokens);
  const TensorView du = room.floats({s.tokens, f.out}), dx = room.floats({s.tokens, f.in});
  return {.call = [=, &weight] { weight.input_gradient(du, dx, false); },
          .flops = product_flops(s.tokens, f.in, f.out),
          .reference = room.references.product(s.tokens, f.in, f.out)};
}

// Any product of plain matrices; m, n, k and the transpositions from the operation itself.
Measurement plain(Room& room, const MatMul& op) {
  const std::int64_t m = op.c.size(0), n = op.c.size(1), k = op.a.size(op.transpose_a ? 0 : 1);
  Backend& backend = room.backend;
  return {.call = [op, &backend] { matmul(backend, op); },
          .flops = product_flops(m, n, k),
          .reference = room.references.product(m, n, k)};
}

void add_frozen(Registry& registry) {
  registry.add("frozen_forward", [](Room& r, const Sizes& s) { return forward(r, s, {s.hidden, s.hidden}); });
  registry.add("frozen_forward_wide", [](Room& r, const Sizes& s) {
    return forward(r, s, {s.intermediate(), s.hidden});
  });
  registry.add("frozen_forward_deep", [](Room& r, const Sizes& s) {
    return forward(r, s, {s.hidden, s.intermediate()});
  });
  registry.add("frozen_input_gradient", [](Room& r, const Sizes& s) {
    return input_gradient(r, s, {s.hidden, s.hidden});
  });
  registry.add("frozen_input_gradient_wide", [](Room& r, const Sizes& s) {
    return input_gradient(r, s, {s.intermediate(), s.hidden});
  });
  registry.add("frozen_gather_rows", [](Room& r, const Sizes& s) -> Measurement {
    const WeightMatrix& table = r.frozen(6400, s.hidden, s.tokens);
    const TensorView ids = r.ints(s.tokens, 6400), y = r.floats({s.tokens, s.hidden});
    return {.call = [=, &table] { table.gather_rows(ids, 0, y); },
            .bytes = 2 * bytes_of({y}),
            .reference = r.references.copy()};
  });
  registry.add("frozen_row_squared_norms", [](Room& r, const Sizes& s) -> Measurement {
    const WeightMatrix& weight = r.frozen(s.hidden, s.hidden, s.tokens);
    const TensorView out = r.floats({s.hidden});
    return {.call = [=, &weight] { weight.row_squared_norms(out); },
            .bytes = 4 * static_cast<double>(s.hidden * s.hidden),
            .reference = r.references.copy()};
  });
  registry.add("frozen_column_squared_norms", [](Room& r, const Sizes& s) -> Measurement {
    const WeightMatrix& weight = r.frozen(s.hidden, s.hidden, s.tokens);
    const TensorView out = r.floats({s.hidden});
    return {.call = [=, &weight] { weight.column_squared_norms(out); },
            .bytes = 4 * static_cast<double>(s.hidden * s.hidden),
            .reference = r.references.copy()};
  });
}

void add_trainable(Registry& registry) {
  registry.add("trainable_weight_gradient", [](Room& r, const Sizes& s) -> Measurement {
    const auto& weight = static_cast<const TrainableMatrix&>(r.keep(
        std::make_unique<TrainableMatrix>(r.backend, r.floats({s.hidden, s.hidden}), r.floats({s.hidden, s.hidden}))));
    const TensorView dy = r.floats({s.tokens, s.hidden}), x = r.floats({s.tokens, s.hidden});
    return {.call = [=, &weight] { weight.weight_gradient(dy, x); },
            .flops = product_flops(s.hidden, s.hidden, s.tokens),
            .reference = r.references.product(s.hidden, s.hidden, s.tokens)};
  });
}

}  // namespace

void add_products(Registry& registry) {
  add_frozen(registry);
  add_trainable(registry);
  registry.add_with_ranks("adapter_z", [](Room& r, const Sizes& s) {  // z = x A^T
    return plain(r, {.a = r.floats({s.tokens, s.hidden}),
                     .b = r.floats({s.rank, s.hidden}),
                     .c = r.floats({s.tokens, s.rank}),
                     .transpose_b = true});
  });
  registry.add_with_ranks("adapter_y", [](Room& r, const Sizes& s) {  // y += z B^T
    return plain(r, {.a = r.floats({s.tokens, s.rank}),
                     .b = r.floats({s.hidden, s.rank}),
                     .c = r.floats({s.tokens, s.hidden}),
                     .transpose_b = true,
                     .scale = 1e-3F,
                     .accumulate = true});
  });
  registry.add_with_ranks("adapter_dz", [](Room& r, const Sizes& s) {  // dz = du B
    return plain(
        r, {.a = r.floats({s.tokens, s.hidden}), .b = r.floats({s.hidden, s.rank}), .c = r.floats({s.tokens, s.rank})});
  });
  registry.add_with_ranks("adapter_db", [](Room& r, const Sizes& s) {  // dB += du^T z
    return plain(r, {.a = r.floats({s.tokens, s.hidden}),
                     .b = r.floats({s.tokens, s.rank}),
                     .c = r.floats({s.hidden, s.rank}),
                     .transpose_a = true,
                     .scale = 1e-3F,
                     .accumulate = true});
  });
  registry.add_with_ranks("adapter_da", [](Room& r, const Sizes& s) {  // dA += dz^T x
    return plain(r, {.a = r.floats({s.tokens, s.rank}),
                     .b = r.floats({s.tokens, s.hidden}),
                     .c = r.floats({s.rank, s.hidden}),
                     .transpose_a = true,
                     .scale = 1e-3F,
                     .accumulate = true});
  });
  registry.add_with_ranks("adapter_dx", [](Room& r, const Sizes& s) {  // dx += dz A
    return plain(r, {.a = r.floats({s.tokens, s.rank}),
                     .b = r.floats({s.rank, s.hidden}),
                     .c = r.floats({s.tokens, s.hidden}),
                     .scale = 1e-3F,
                     .accumulate = true});
  });
  registry.add("transpose", [](Room& r, const Sizes& s) -> Measurement {
    const Transpose op{.from = r.floats({s.tokens, s.hidden}), .to = r.floats({s.hidden, s.tokens})};
    return {.call = [op, &b = r.backend] { transpose(b, op); },
            .bytes = bytes_of({op.from, op.to}),
            .reference = r.references.copy()};
  });
}

}  // namespace shardora::bench
