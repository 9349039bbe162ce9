// What DoRA and the optimizer do: gains, norms, AdamW, sums, random numbers.
#include "kernels/adamw.h"
#include "kernels/dora.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "tests/bench/ops.h"

namespace shardora::bench {
namespace {

template <class Op>
Measurement pass(Room& room, void (*function)(Backend&, const Op&), const Op& op, double bytes) {
  return {.call = [op, function, &backend = room.backend] { function(backend, op); },
          .bytes = bytes,
          .reference = room.references.copy()};
}

void add_gains(Registry& registry) {
  registry.add("scale_columns_forward", [](Room& r, const Sizes& s) {
    const ScaleColumnsForward op{
        .u = r.floats({s.tokens, s.hidden}), .gain = r.floats({s.hidden}), .y = r.floats({s.tokens, s.hidden})};
    return pass(r, scale_columns_forward, op, bytes_of({op.u, op.y}));
  });
  registry.add("scale_columns_backward", [](Room& r, const Sizes& s) {
    const ScaleColumnsBackward op{.dy = r.floats({s.tokens, s.hidden}),
                                  .u = r.floats({s.tokens, s.hidden}),
                                  .gain = r.floats({s.hidden}),
                                  .du = r.floats({s.tokens, s.hidden}),
                                  .h = r.floats({s.hidden})};
    return pass(r, scale_columns_backward, op, bytes_of({op.dy, op.u, op.du}));
  });
  registry.add("dropout_gain_forward", [](Room& r, const Sizes& s) {
    const Shape shape{s.tokens, s.hidden};
    const DropoutGainForward op{.base = r.floats(shape),
                                .p = r.floats(shape),
                                .e = r.floats(shape),
                                .gain = r.floats({s.hidden}),
                                .y = r.floats(shape),
                                .u = r.floats(shape)};
    return pass(r, dropout_gain_forward, op, bytes_of({op.base, op.p, op.e, op.y, op.u}));
  });
  registry.add("gain_minus_one", [](Room& r, const Sizes& s) {
    const GainMinusOne op{
        .x = r.floats({s.tokens, s.hidden}), .gain = r.floats({s.hidden}), .y = r.floats({s.tokens, s.hidden})};
    return pass(r, gain_minus_one, op, bytes_of({op.x, op.y}));
  });
}

// One call an optimizer step and module, whatever the tokens.
void add_norms(Registry& registry) {
  registry.add_with_ranks("low_rank_norm", [](Room& r, const Sizes& s) {
    const Shape factor{s.rank, s.hidden};
    const LowRankNorm op{.squared_weight = r.uniform({s.hidden}, 1, 2),
                         .x = r.floats(factor),
                         .y = r.floats(factor),
                         .z = r.floats(factor),
                         .squared = r.floats({s.hidden}),
                         .reference = r.floats({s.hidden})};
    return pass(r, low_rank_norm, op, bytes_of({op.x, op.y, op.z}));
  });
  const auto direct = [](Room& r, const Sizes& s, std::int64_t columns) {
    return DirectNorm{.w = r.floats({64, s.hidden}),
                      .b = r.floats({64, s.rank}),
                      .a = r.floats({s.rank, s.hidden}),
                      .columns = columns > 0 ? r.ascending(columns, 1) : TensorView{},
                      .out = r.doubles(columns > 0 ? columns : 64)};
  };
  registry.add_with_ranks("direct_row_norms", [direct](Room& r, const Sizes& s) {
    const DirectNorm op = direct(r, s, 0);
    return pass(r, direct_row_norms, op, bytes_of({op.w}));
  });
  registry.add_with_ranks("direct_column_norms", [direct](Room& r, const Sizes& s) {
    const DirectNorm op = direct(r, s, 8);
    return pass(r, direct_column_norms, op, 64 * bytes_of({op.columns}));
  });
  registry.add("dora_gain", [](Room& r, const Sizes& s) {
    const DoraGain op{
        .magnitude = r.uniform({s.hidden}, 1, 2), .norm = r.uniform({s.hidden}, 1, 2), .gain = r.floats({s.hidden})};
    return pass(r, dora_gain, op, bytes_of({op.magnitude, op.norm, op.gain}));
  });
  registry.add("norm_from_square", [](Room& r, const Sizes& s) {
    const NormFromSquare op{.squared = r.uniform({s.hidden}, 1, 2), .norm = r.floats({s.hidden})};
    return pass(r, norm_from_square, op, bytes_of({op.squared, op.norm}));
  });
  registry.add("initial_magnitude", [](Room& r, const Sizes& s) {
    const InitialMagnitude op{.norm = r.uniform({s.hidden}, 1, 2), .magnitude = r.floats({s.hidden})};
    return pass(r, initial_magnitude, op, bytes_of({op.norm, op.magnitude}));
  });
  registry.add("norm_gradient_factor", [](Room& r, const Sizes& s) {
    const NormGradientFactor op{.magnitude = r.uniform({s.hidden}, 1, 2),
                                .norm = r.uniform({s.hidden}, 1, 2),
                                .h = r.floats({s.hidden}),
                                .c = r.floats({s.hidden})};
    return pass(r, norm_gradient_factor, op, bytes_of({op.magnitude, op.norm, op.h, op.c}));
  });
  registry.add("magnitude_gradient", [](Room& r, const Sizes& s) {
    const MagnitudeGradient op{.norm = r.uniform({s.hidden}, 0.99F, 1.01F), .h = r.floats({s.hidden})};
    return pass(r, magnitude_gradient, op, bytes_of({op.norm, op.h, op.h}));
  });
}

}  // namespace

void add_adaptation(Registry& registry) {
  add_gains(registry);
  add_norms(registry);
  registry.add_with_ranks("adamw", [](Room& r, const Sizes& s) {  // one factor of an adapter
    const Shape flat{s.rank * s.hidden};
    const AdamW op{.value = r.floats(flat),
                   .gradient = r.floats(flat),
                   .moment1 = r.floats(flat),
                   .moment2 = r.uniform(flat, 0, 1),
                   .learning_rate = 1e-6};
    return pass(r, adamw, op, 7 * bytes_of({op.value}));
  });
  registry.add("sum_of_squares", [](Room& r, const Sizes& s) -> Measurement {
    const TensorView x = r.floats({s.tokens * s.hidden});
    return {.call = [x, &backend = r.backend] { sum_of_squares(backend, x); },
            .bytes = bytes_of({x}),
            .reference = r.references.copy()};
  });
  registry.add("row_squared_norms", [](Room& r, const Sizes& s) {
    const SquaredNorms op{.x = r.floats({s.tokens, s.hidden}), .out = r.floats({s.tokens})};
    return pass(r, row_squared_norms, op, bytes_of({op.x}));
  });
  registry.add("column_squared_norms", [](Room& r, const Sizes& s) {
    const SquaredNorms op{.x = r.floats({s.tokens, s.hidden}), .out = r.floats({s.hidden})};
    return pass(r, column_squared_norms, op, bytes_of({op.x}));
  });
  const auto fill = [](Room& r, const Sizes& s) {
    return RandomFill{
        .key = random_key(1, "bench"), .out = r.floats({s.tokens, s.hidden}), .logical_columns = s.hidden};
  };
  registry.add("fill_uniform", [fill](Room& r, const Sizes& s) {
    const RandomFill op = fill(r, s);
    return pass(r, fill_uniform, op, bytes_of({op.out}));
  });
  registry.add("fill_normal", [fill](Room& r, const Sizes& s) {
    const RandomFill op = fill(r, s);
    return pass(r, fill_normal, op, bytes_of({op.out}));
  });
}

}  // namespace shardora::bench
