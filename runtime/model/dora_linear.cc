#include "runtime/model/dora_linear.h"

#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"

namespace shardora {

bool DoraLinear::needs_output() const {
  return !output_axis() || (adapter->dropout > 0 && adapter->dropout_scope == DropoutScope::kInput);
}

LinearSaved DoraLinear::take_saved(Arena& arena, std::string_view segment, DType dtype, std::int64_t tokens) const {
  LinearSaved saved;
  if (output_axis()) saved.u = arena.take(segment, dtype, {tokens, out_features});
  if (adapter) saved.z = arena.take(segment, dtype, {tokens, adapter->a.size(0)});
  return saved;
}

void DoraLinear::forward(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView y) const {
  if (adapter) SHARDORA_CHECK(!adapter->version || adapter->version->norms == adapter->version->parameters);
  if (drops_all(pass)) return forward_dropping_all(pass, x, saved, y);
  const ScratchScope scope(pass.scratch);
  const TensorView scaled = scaled_input(pass, x);
  const TensorView u = output_axis() ? saved.u : y;
  weight->forward(scaled, u, false);
  if (adapter) {
    const TensorView adapter_x = adapter_input(pass, scaled);
    matmul(pass.backend, {.a = adapter_x, .b = adapter->a, .c = saved.z, .transpose_b = true});
    matmul(pass.backend,
           {.a = saved.z, .b = adapter->b, .c = u, .transpose_b = true, .scale = adapter->scale, .accumulate = true});
  }
  if (kind == LinearKind::kRow) pass.parallel.row_parallel_output(u);
}

LinearProduct DoraLinear::output(const Pass& pass, const LinearSaved& saved, TensorView y) const {
  if (!leaves_gain(pass)) return {.u = y, .gain = {}, .bias = bias};
  return {.u = saved.u, .gain = adapter->gain, .bias = bias};
}

TensorView DoraLinear::output_h(const Pass& pass) const { return leaves_gain(pass) ? adapter->h : TensorView{}; }

TensorView DoraLinear::scaled_input(const Pass& pass, TensorView x) const {
  if (!input_axis()) return x;
  const TensorView scaled = pass.scratch.take("scratch", x.dtype, x.shape);
  scale_columns_forward(pass.backend, {.u = x, .gain = adapter->gain, .bias = {}, .y = scaled});
  return scaled;
}

TensorView DoraLinear::adapter_input(const Pass& pass, TensorView x) const {
  if (!drops(pass)) return x;
  const TensorView dropped = pass.scratch.take("scratch", x.dtype, x.shape);
  dropout_into(pass, x, dropped, false);
  return dropped;
}

void DoraLinear::dropout_into(const Pass& pass, TensorView x, TensorView y, bool accumulate) const {
  dropout(pass.backend, {.x = x,
                         .y = y,
                         .accumulate = accumulate,
                         .key = random_key(adapter->dropout_key, static_cast<std::uint64_t>(pass.step)),
                         .sequence_indices = pass.batch.sequence_indices,
                         .positions = pass.batch.positions,
                         .first_feature = adapter->first_feature,
                         .probability = adapter->dropout});
}

void DoraLinear::forward_dropping_all(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView y) const {
  ScratchScope scope(pass.scratch);
  const TensorView dropped = scope.like(x);
  dropout_into(pass, x, dropped, false);
  if (output_axis()) {
    weight->forward(x, y, false);
    weight->forward(dropped, saved.u, false);
    matmul(pass.backend, {.a = dropped, .b = adapter->a, .c = saved.z, .transpose_b = true});
    const TensorView e = scope.like(y);
    matmul(pass.backend, {.a = saved.z, .b = adapter->b, .c = e, .transpose_b = true, .scale = adapter->scale});
    dropout_gain_forward(pass.backend, {.base = y, .p = saved.u, .e = e, .gain = adapter->gain, .y = y, .u = saved.u});
  } else {
    const TensorView mixed = scope.like(x);  // x + (g - 1).x'
    gain_minus_one(pass.backend, {.x = dropped, .gain = adapter->gain, .y = mixed});
    add(pass.backend, {.x = x, .y = mixed});
    weight->forward(mixed, y, false);
    scale_columns_forward(pass.backend, {.u = dropped, .gain = adapter->gain, .bias = {}, .y = dropped});
    matmul(pass.backend, {.a = dropped, .b = adapter->a, .c = saved.z, .transpose_b = true});
    matmul(pass.backend,
           {.a = saved.z, .b = adapter->b, .c = y, .transpose_b = true, .scale = adapter->scale, .accumulate = true});
  }
  if (kind == LinearKind::kRow) pass.parallel.row_parallel_output(y);
}

void DoraLinear::backward(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView du, TensorView dx,
                          bool accumulate) const {
  const ScratchScope scope(pass.scratch);
  if (!adapter) return backward_plain(pass, x, du, dx, accumulate);
  if (drops_all(pass)) {  // no gain is left to others: du = dy
    return output_axis() ? backward_output_dropping_all(pass, x, saved, du, dx, accumulate)
                         : backward_input_dropping_all(pass, x, saved, du, dx, accumulate);
  }
  return input_axis() ? backward_input(pass, x, saved, du, dx, accumulate)
                      : backward_output(pass, x, saved, du, dx, accumulate);
}

void DoraLinear::backward_plain(const Pass& pass, TensorView x, TensorView dy, TensorView dx, bool accumulate) const {
  if (dbias) column_sum(pass.backend, {.dy = dy, .dbias = dbias});
  if (trainable) trainable->weight_gradient(dy, x);
  if (dx) weight->input_gradient(dy, dx, accumulate);
}

// dz = s du B,  dB += s du^T z,  dA += dz^T x.  On the input axis dA += (dz^T x).g, which spares making x~ again.
void DoraLinear::factor_gradients(const Pass& pass, TensorView du, TensorView adapter_x, TensorView z,
                                  TensorView dz) const {
  const float s = adapter->scale;
  const TensorView da = adapter->da;
  matmul(pass.backend, {.a = du, .b = adapter->b, .c = dz, .scale = s});
  matmul(pass.backend, {.a = du, .b = z, .c = adapter->db, .transpose_a = true, .scale = s, .accumulate = true});
  if (!input_axis()) {
    return matmul(pass.backend, {.a = dz, .b = adapter_x, .c = da, .transpose_a = true, .accumulate = true});
  }
  ScratchScope scope(pass.scratch);
  const TensorView unscaled = scope.like(da);
  matmul(pass.backend, {.a = dz, .b = adapter_x, .c = unscaled, .transpose_a = true});
  scale_columns_forward(pass.backend, {.u = unscaled, .gain = adapter->gain, .bias = {}, .residual = da, .y = da});
}

// Also LoRA.
void DoraLinear::backward_output(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView du, TensorView dx,
                                 bool accumulate) const {
  const TensorView dz = pass.scratch.take("scratch", saved.z.dtype, saved.z.shape);
  factor_gradients(pass, du, adapter_input(pass, x), saved.z, dz);
  if (!dx) return;
  weight->input_gradient(du, dx, accumulate);
  if (!drops(pass)) return matmul(pass.backend, {.a = dz, .b = adapter->a, .c = dx, .accumulate = true});
  const TensorView branch = pass.scratch.take("scratch", dx.dtype, dx.shape);
  matmul(pass.backend, {.a = dz, .b = adapter->a, .c = branch});
  dropout_into(pass, branch, dx, true);
}

void DoraLinear::backward_input(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView dy, TensorView dx,
                                bool accumulate) const {
  ScratchScope scope(pass.scratch);
  const TensorView dz = scope.like(saved.z);
  factor_gradients(pass, dy, adapter_input(pass, x), saved.z, dz);
  const TensorView dscaled = dx && !accumulate ? dx : scope.like(x);
  weight->input_gradient(dy, dscaled, false);
  if (drops(pass)) {
    const TensorView branch = scope.like(x);
    matmul(pass.backend, {.a = dz, .b = adapter->a, .c = branch});
    dropout_into(pass, branch, dscaled, true);
  } else {
    matmul(pass.backend, {.a = dz, .b = adapter->a, .c = dscaled, .accumulate = true});
  }
  scale_columns_backward(pass.backend, {.dy = dscaled,
                                        .u = x,
                                        .gain = adapter->gain,
                                        .du = dx ? dx : dscaled,
                                        .accumulate = dx && accumulate,
                                        .h = adapter->h});
}

// dx = dy W + D.(((g - 1).dy) W + dz A)
void DoraLinear::backward_output_dropping_all(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView dy,
                                              TensorView dx, bool accumulate) const {
  ScratchScope scope(pass.scratch);
  const TensorView du = scope.like(dy), dz = scope.like(saved.z);
  scale_columns_backward(pass.backend, {.dy = dy, .u = saved.u, .gain = adapter->gain, .du = du, .h = adapter->h});
  factor_gradients(pass, du, adapter_input(pass, x), saved.z, dz);
  if (!dx) return;
  weight->input_gradient(dy, dx, accumulate);
  gain_minus_one(pass.backend, {.x = dy, .gain = adapter->gain, .y = du});
  const TensorView branch = scope.like(dx);
  weight->input_gradient(du, branch, false);
  matmul(pass.backend, {.a = dz, .b = adapter->a, .c = branch, .accumulate = true});
  dropout_into(pass, branch, dx, true);
}

// q = dy W + dz A,  h += sum x'.q,  dx = dy W + D.((g - 1).(dy W) + g.(dz A))
void DoraLinear::backward_input_dropping_all(const Pass& pass, TensorView x, const LinearSaved& saved, TensorView dy,
                                             TensorView dx, bool accumulate) const {
  ScratchScope scope(pass.scratch);
  const TensorView gain = adapter->gain, dropped = scope.like(x), dz = scope.like(saved.z), base = scope.like(x),
                   branch = scope.like(x), q = scope.like(x);
  dropout_into(pass, x, dropped, false);
  factor_gradients(pass, dy, dropped, saved.z, dz);
  weight->input_gradient(dy, base, false);
  matmul(pass.backend, {.a = dz, .b = adapter->a, .c = branch});
  pass.backend.copy(q, base);
  add(pass.backend, {.x = branch, .y = q});
  scale_columns_backward(pass.backend, {.dy = q, .u = dropped, .gain = gain, .du = q, .h = adapter->h});
  if (!dx) return;
  scale_columns_forward(pass.backend, {.u = branch, .gain = gain, .bias = {}, .y = branch});
  gain_minus_one(pass.backend, {.x = base, .gain = gain, .y = q});
  add(pass.backend, {.x = q, .y = branch});
  if (accumulate) {
    add(pass.backend, {.x = base, .y = dx});
  } else {
    pass.backend.copy(dx, base);
  }
  dropout_into(pass, branch, dx, true);
}

}  // namespace shardora
