#include "runtime/model/block.h"

#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/gain.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace shardora {
namespace {

constexpr std::string_view kSegment = "activations";

// [tokens, heads, head_dim] as [tokens, features], and as one row a head.
TensorView flat(TensorView x) { return x.reshaped({x.size(0), x.size(1) * x.size(2)}); }
TensorView by_head(TensorView x) { return x.reshaped({x.size(0) * x.size(1), x.size(2)}); }

RopeTable table_of(const DeviceBatch& batch) { return {.cosines = batch.cosines, .sines = batch.sines}; }

// A layer's output where no other pass applies its gain and bias on the way: y = output (+ residual).
void finish(const Pass& pass, const LinearProduct& product, TensorView residual, TensorView y) {
  scale_columns_forward(pass.backend,
                        {.u = product.u, .gain = product.gain, .bias = product.bias, .residual = residual, .y = y});
}

// And its backward: dy becomes the gradient of the product.
void finish_backward(const Pass& pass, const LinearProduct& product, TensorView dy, TensorView h) {
  if (!product.gain) return;
  scale_columns_backward(pass.backend, {.dy = dy, .u = product.u, .gain = product.gain, .du = dy, .h = h});
}

// A layer whose output joins the residual stream: its gradient dh goes on there, so that of the product is a new one.
void residual_layer_backward(const Pass& pass, const DoraLinear& linear, TensorView x, const LinearSaved& saved,
                             TensorView dh, TensorView dx) {
  const LinearProduct product = linear.output(pass, saved, {});
  if (!product.gain) return linear.backward(pass, x, saved, dh, dx, false);
  ScratchScope scope(pass.scratch);
  const TensorView du = scope.like(dh);
  scale_columns_backward(pass.backend,
                         {.dy = dh, .u = product.u, .gain = product.gain, .du = du, .h = linear.output_h(pass)});
  linear.backward(pass, x, saved, du, dx, false);
}

bool linear_trains(const DoraLinear& linear) { return linear.adapter || linear.trainable; }

// The saved views of a layer cover the largest micro-batch; a pass sees the rows of its own.
TensorView first_rows(TensorView x, std::int64_t tokens) { return x ? x.rows(0, tokens) : x; }

LinearSaved first_rows(const LinearSaved& saved, std::int64_t tokens) {
  return {first_rows(saved.u, tokens), first_rows(saved.z, tokens)};
}

BlockSaved first_rows(BlockSaved s, std::int64_t tokens) {
  for (TensorView* view : {&s.h, &s.x1, &s.rstd1, &s.q_raw, &s.k_raw, &s.q_rstd, &s.k_rstd, &s.q, &s.k, &s.v,
                           &s.attended, &s.lse, &s.m, &s.x2, &s.rstd2, &s.gate, &s.up, &s.activated}) {
    *view = first_rows(*view, tokens);
  }
  for (LinearSaved* saved :
       {&s.q_saved, &s.k_saved, &s.v_saved, &s.o_saved, &s.gate_saved, &s.up_saved, &s.down_saved}) {
    *saved = first_rows(*saved, tokens);
  }
  return s;
}

}  // namespace

bool Block::trains() const {
  for (const DoraLinear* linear : {&q, &k, &v, &o, &gate, &up, &down}) {
    if (linear_trains(*linear)) return true;
  }
  return false;
}

BlockSaved Block::take_saved(Arena& arena, DType dtype, std::int64_t tokens, Recompute recompute) const {
  const bool keep_all = recompute != Recompute::kSelective;
  const auto take = [&](Shape shape) { return arena.take(kSegment, dtype, shape); };
  const auto statistics = [&](Shape shape) { return arena.take(kSegment, DType::kF32, shape); };
  const auto saved_of = [&](const DoraLinear& linear) { return linear.take_saved(arena, kSegment, dtype, tokens); };
  BlockSaved s;
  if (keep_all) s.x1 = take({tokens, hidden_size});
  s.rstd1 = statistics({tokens});
  s.q_saved = saved_of(q), s.k_saved = saved_of(k), s.v_saved = saved_of(v), s.o_saved = saved_of(o);
  s.q = take({tokens, heads, head_dim});
  s.k = take({tokens, kv_heads, head_dim});
  s.v = take({tokens, kv_heads, head_dim});
  if (q_norm.weight) {
    s.q_raw = take({tokens, heads, head_dim}), s.q_rstd = statistics({tokens, heads});
    s.k_raw = take({tokens, kv_heads, head_dim}), s.k_rstd = statistics({tokens, kv_heads});
  }
  s.attended = take({tokens, heads, head_dim});
  s.lse = statistics({tokens, heads});
  s.m = take({tokens, hidden_size});
  if (keep_all) s.x2 = take({tokens, hidden_size});
  s.rstd2 = statistics({tokens});
  s.gate_saved = saved_of(gate), s.up_saved = saved_of(up), s.down_saved = saved_of(down);
  if (gate.needs_output()) s.gate = take({tokens, gate.out_features});
  if (up.needs_output()) s.up = take({tokens, up.out_features});
  if (keep_all) s.activated = take({tokens, gate.out_features});
  return s;
}

void Block::take_missing(ScratchScope& scope, BlockSaved& s) const {
  const std::int64_t tokens = s.h.size(0);
  if (!s.x1) s.x1 = scope.take({tokens, hidden_size}, s.h.dtype);
  if (!s.x2) s.x2 = scope.take({tokens, hidden_size}, s.h.dtype);
  if (!s.activated) s.activated = scope.take({tokens, gate.out_features}, s.h.dtype);
}

void Block::recompute_x1(const Pass& pass, ScratchScope& scope, BlockSaved& s) const {
  if (s.x1) return;
  s.x1 = scope.like(s.h);
  rms_norm_forward(pass.backend,
                   {.x = s.h, .weight = input_norm.weight, .epsilon = epsilon, .y = s.x1, .rstd = s.rstd1});
}

void Block::recompute_mlp(const Pass& pass, ScratchScope& scope, BlockSaved& s) const {
  if (s.x2) return;
  const std::int64_t tokens = s.m.size(0);
  s.x2 = scope.take({tokens, hidden_size}, s.h.dtype);
  rms_norm_forward(pass.backend,
                   {.x = s.m, .weight = post_norm.weight, .epsilon = epsilon, .y = s.x2, .rstd = s.rstd2});
  s.activated = scope.take({tokens, gate.out_features}, s.h.dtype);
  activate(pass, s);
}

void Block::activate(const Pass& pass, const BlockSaved& s) const {
  swiglu_forward(
      pass.backend,
      {.gate = gate.output(pass, s.gate_saved, s.gate), .up = up.output(pass, s.up_saved, s.up), .y = s.activated});
}

TensorView Block::QueryOrKey::output() const { return flat(raw ? raw : y); }

LinearProduct Block::QueryOrKey::product(const Pass& pass) const { return linear.output(pass, saved, output()); }

void Block::query_or_key_forward(const Pass& pass, const QueryOrKey& part) const {
  LinearProduct x = part.product(pass);
  if (part.norm.weight) {
    finish(pass, x, {}, flat(part.raw));
    rms_norm_forward(pass.backend, {.x = by_head(part.raw),
                                    .weight = part.norm.weight,
                                    .epsilon = epsilon,
                                    .y = by_head(part.y),
                                    .rstd = part.rstd.reshaped({part.rstd.elements()})});
    x = {.u = part.y, .gain = {}, .bias = {}};
  }
  x.u = x.u.reshaped(part.y.shape);
  rope_forward(pass.backend, {.x = x, .positions = pass.batch.positions, .table = table_of(pass.batch), .y = part.y});
}

Block::QueryOrKey Block::query_of(const BlockSaved& s) const { return {q, s.q_saved, q_norm, s.q_raw, s.q_rstd, s.q}; }
Block::QueryOrKey Block::key_of(const BlockSaved& s) const { return {k, s.k_saved, k_norm, s.k_raw, s.k_rstd, s.k}; }

AttentionForward Block::attention_call(const DeviceBatch& batch, const BlockSaved& s) const {
  const bool looks_back = !batch.cache.layers.empty() && batch.cache.key_offsets;
  const LayerCache keys = looks_back ? batch.cache.layers[static_cast<std::size_t>(number)] : LayerCache{s.k, s.v};
  return {.q = s.q,
          .k = keys.k,
          .v = keys.v,
          .query_offsets = looks_back ? batch.cache.query_offsets : batch.offsets,
          .key_offsets = looks_back ? batch.cache.key_offsets : batch.offsets,
          .longest = batch.longest,
          .mask = mask,
          .scale = 1.0F / std::sqrt(static_cast<float>(head_dim)),
          .o = s.attended,
          .lse = s.lse};
}

void Block::write_kv_cache(const Pass& pass, const BlockSaved& s) const {
  const CacheAccess& cache = pass.batch.cache;
  if (cache.layers.empty()) return;
  const LayerCache& own = cache.layers[static_cast<std::size_t>(number)];
  write_rows(pass.backend, {.from = s.k, .rows = cache.rows, .to = own.k});
  write_rows(pass.backend, {.from = s.v, .rows = cache.rows, .to = own.v});
}

void Block::attention_forward_part(const Pass& pass, const BlockSaved& s) const {
  rms_norm_forward(pass.backend,
                   {.x = s.h, .weight = input_norm.weight, .epsilon = epsilon, .y = s.x1, .rstd = s.rstd1});
  const QueryOrKey query = query_of(s), key = key_of(s);
  q.forward(pass, s.x1, s.q_saved, query.output());
  k.forward(pass, s.x1, s.k_saved, key.output());
  v.forward(pass, s.x1, s.v_saved, flat(s.v));
  query_or_key_forward(pass, query);
  query_or_key_forward(pass, key);
  finish(pass, v.output(pass, s.v_saved, flat(s.v)), {}, flat(s.v));
  write_kv_cache(pass, s);
  attention_forward(pass.backend, attention_call(pass.batch, s));
  o.forward(pass, flat(s.attended), s.o_saved, s.m);
  finish(pass, o.output(pass, s.o_saved, s.m), s.h, s.m);
}

void Block::forward(const Pass& pass, const BlockSaved& saved, TensorView h_out) const {
  ScratchScope scope(pass.scratch);
  BlockSaved s = first_rows(saved, pass.batch.tokens.size(0));
  take_missing(scope, s);
  attention_forward_part(pass, s);
  rms_norm_forward(pass.backend,
                   {.x = s.m, .weight = post_norm.weight, .epsilon = epsilon, .y = s.x2, .rstd = s.rstd2});
  gate.forward(pass, s.x2, s.gate_saved, s.gate);
  up.forward(pass, s.x2, s.up_saved, s.up);
  activate(pass, s);
  down.forward(pass, s.activated, s.down_saved, h_out);
  finish(pass, down.output(pass, s.down_saved, h_out), s.m, h_out);
}

void Block::backward(const Pass& pass, const BlockSaved& saved, TensorView dh, bool needs_input_gradient) const {
  BlockSaved s = first_rows(saved, pass.batch.tokens.size(0));
  {
    ScratchScope scope(pass.scratch);
    recompute_mlp(pass, scope, s);
    mlp_backward_part(pass, s, dh);
  }
  ScratchScope scope(pass.scratch);
  recompute_x1(pass, scope, s);
  attention_backward_part(pass, s, dh, needs_input_gradient);
}

void Block::mlp_backward_part(const Pass& pass, const BlockSaved& s, TensorView dh) const {
  ScratchScope scope(pass.scratch);
  const TensorView dx2 = scope.like(s.x2);
  {
    ScratchScope inner(pass.scratch);
    const TensorView d_activated = inner.like(s.activated);
    residual_layer_backward(pass, down, s.activated, s.down_saved, dh, d_activated);
    const TensorView dgate = inner.like(s.activated);
    swiglu_backward(pass.backend, {.dy = d_activated,
                                   .gate = gate.output(pass, s.gate_saved, s.gate),
                                   .up = up.output(pass, s.up_saved, s.up),
                                   .dgate = {.du = dgate, .h = gate.output_h(pass)},
                                   .dup = {.du = d_activated, .h = up.output_h(pass)}});
    gate.backward(pass, s.x2, s.gate_saved, dgate, dx2, false);
    up.backward(pass, s.x2, s.up_saved, d_activated, dx2, true);
  }
  pass.parallel.column_parallel_input_backward(dx2);
  rms_norm_backward(pass.backend, {.dy = dx2,
                                   .x = s.m,
                                   .weight = post_norm.weight,
                                   .rstd = s.rstd2,
                                   .dx = dh,
                                   .accumulate = true,
                                   .dweight = post_norm.dweight});
}

void Block::query_or_key_backward(const Pass& pass, const QueryOrKey& part, TensorView dy) const {
  LinearProduct x = part.product(pass);
  const ProductGradient dx{.du = dy, .h = part.linear.output_h(pass)};
  const RopeTable table = table_of(pass.batch);
  if (!part.norm.weight) {
    x.u = x.u.reshaped(dy.shape);
    return rope_backward(pass.backend, {.dy = dy, .x = x, .positions = pass.batch.positions, .table = table, .dx = dx});
  }
  rope_backward(pass.backend, {.dy = dy, .x = {}, .positions = pass.batch.positions, .table = table, .dx = {.du = dy}});
  rms_norm_backward(pass.backend, {.dy = by_head(dy),
                                   .x = by_head(part.raw),
                                   .weight = part.norm.weight,
                                   .rstd = part.rstd.reshaped({part.rstd.elements()}),
                                   .dx = by_head(dy),
                                   .accumulate = false,
                                   .dweight = part.norm.dweight});
  finish_backward(pass, x, flat(dy), dx.h);
}

void Block::attention_backward_part(const Pass& pass, const BlockSaved& s, TensorView dh,
                                    bool needs_input_gradient) const {
  ScratchScope scope(pass.scratch);
  const TensorView d_attended = scope.like(s.attended), dq = scope.like(s.q), dk = scope.like(s.k),
                   dv = scope.like(s.v);
  residual_layer_backward(pass, o, flat(s.attended), s.o_saved, dh, flat(d_attended));
  attention_backward(pass.backend,
                     {.forward = attention_call(pass.batch, s), .d_o = d_attended, .dq = dq, .dk = dk, .dv = dv});
  query_or_key_backward(pass, query_of(s), dq);
  query_or_key_backward(pass, key_of(s), dk);
  finish_backward(pass, v.output(pass, s.v_saved, flat(s.v)), flat(dv), v.output_h(pass));
  const TensorView dx1 = needs_input_gradient ? scope.like(s.x1) : TensorView{};
  q.backward(pass, s.x1, s.q_saved, flat(dq), dx1, false);
  k.backward(pass, s.x1, s.k_saved, flat(dk), dx1, true);
  v.backward(pass, s.x1, s.v_saved, flat(dv), dx1, true);
  if (!needs_input_gradient) return;
  pass.parallel.column_parallel_input_backward(dx1);
  rms_norm_backward(pass.backend, {.dy = dx1,
                                   .x = s.h,
                                   .weight = input_norm.weight,
                                   .rstd = s.rstd1,
                                   .dx = dh,
                                   .accumulate = true,
                                   .dweight = input_norm.dweight});
}

}  // namespace shardora
