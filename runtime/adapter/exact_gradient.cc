// From what the micro-batches accumulated to dA, dB, dm. h is linear in the micro-batches, and so is the derivative
// through the norm, so it is evaluated once per optimizer step on the accumulated h. With c = -s m.h / n^3:
//
//   axis output   dB += c.(W A^T + s B (A A^T))          dA += (c.B)^T W + s ((c.B)^T B) A
//   axis input    dB += (W.c) A^T + s B ((A.c) A^T)      dA += (B^T W).c + s (B^T B)(A.c)
#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"
#include "runtime/adapter/adapter.h"

namespace shardora {

void Adapter::finish_gradients(Communicator& tensor_group, Arena& scratch) {
  if (!has_magnitude()) return;
  if (options_.norm_gradient == NormGradient::kExact) {
    sum_partial_h(tensor_group, scratch);
    for (const AdaptedModule& module : modules_) {
      // After a sum of h every sharer of a KV head holds all of it: its owner alone adds the terms.
      if (!h_is_summed(module) || module.owner) add_exact_gradient(module, scratch);
    }
    // The sum is on every rank now, and the gradients' own sum over the tensor group must count it once.
    for (const AdaptedModule& module : modules_) {
      if (h_is_summed(module) && tensor_rank_ != 0) backend_.zero(h_of(module));
    }
  }
  for (const AdaptedModule& module : modules_) {
    magnitude_gradient(backend_, {.norm = module.norm, .h = h_of(module)});
  }
}

void Adapter::finish_layer(std::int64_t layer) {
  SHARDORA_CHECK(finishes_by_layer());
  if (!has_magnitude()) return;
  for (const AdaptedModule& module : modules_) {
    if (module.layer == layer) magnitude_gradient(backend_, {.norm = module.norm, .h = h_of(module)});
  }
}

// Where KV heads are shared on the output axis, each sharer's own part of h suffices: the terms of its rows are linear
// in h and see the same W, A and B. Elsewhere a term mixes a part of h with a part of W, so h must be complete first.
bool Adapter::h_is_summed(const AdaptedModule& module) const {
  return module.partial_h && module.used.size == module.norm.size(0);
}

void Adapter::sum_partial_h(Communicator& tensor_group, Arena& scratch) {
  if (tensor_group.size() == 1) return;
  std::int64_t total = 0;
  for (const AdaptedModule& module : modules_) total += h_is_summed(module) ? h_of(module).elements() : 0;
  if (total == 0) return;
  ScratchScope scope(scratch);
  const TensorView all = scope.take({total});
  const auto each = [&](const auto& move) {
    std::int64_t at = 0;
    for (const AdaptedModule& module : modules_) {
      if (!h_is_summed(module)) continue;
      const TensorView h = h_of(module);
      move(all.rows(at, h.elements()), h);
      at += h.elements();
    }
  };
  each([&](TensorView batch, TensorView h) { backend_.copy(batch, h); });
  backend_.wait(tensor_group.all_reduce(all, Reduction::kSum, backend_.record()));
  each([&](TensorView batch, TensorView h) { backend_.copy(h, batch); });
}

void Adapter::add_exact_gradient(const AdaptedModule& module, Arena& scratch) const {
  ScratchScope scope(scratch);
  const TensorView c = scope.take({module.used.size});
  const auto used = [&](TensorView stored) { return stored.rows(module.used.begin, module.used.size); };
  norm_gradient_factor(backend_, {.magnitude = used(parameters_->value(module.m)),
                                  .norm = used(module.norm),
                                  .h = module.view.h,
                                  .c = c,
                                  .scale = module.view.scale});
  if (options_.magnitude_axis == MagnitudeAxis::kOutput) {
    exact_output(module, c, scratch);
  } else {
    exact_input(module, c, scratch);
  }
}

void Adapter::exact_output(const AdaptedModule& module, TensorView c, Arena& scratch) const {
  ScratchScope scope(scratch);
  const LinearAdapter& view = module.view;
  const std::int64_t r = module.factor_a.size(0), out = module.factor_b.size(0);
  const TensorView bt = scope.take({r, out}), terms = scope.take({r, out}), gram = scope.take({r, r}),
                   db = scope.take({out, r});
  transpose(backend_, {.from = module.factor_b, .to = bt});
  // dB^T += (A W^T + s (A A^T) B^T).c
  module.linear->weight->forward(module.factor_a, terms, false);
  matmul(backend_, {.a = module.factor_a, .b = module.factor_a, .c = gram, .transpose_b = true});
  matmul(backend_, {.a = gram, .b = bt, .c = terms, .scale = view.scale, .accumulate = true});
  scale_columns_forward(backend_, {.u = terms, .gain = c, .bias = {}, .y = terms});
  transpose(backend_, {.from = terms, .to = db});
  add(backend_, {.x = db, .y = view.db});
  // dA += (c.B)^T W + s ((c.B)^T B) A
  scale_columns_forward(backend_, {.u = bt, .gain = c, .bias = {}, .y = bt});
  module.linear->weight->input_gradient(bt, view.da, true);
  matmul(backend_, {.a = bt, .b = module.factor_b, .c = gram});
  matmul(backend_, {.a = gram, .b = module.factor_a, .c = view.da, .scale = view.scale, .accumulate = true});
}

void Adapter::exact_input(const AdaptedModule& module, TensorView c, Arena& scratch) const {
  ScratchScope scope(scratch);
  const LinearAdapter& view = module.view;
  const std::int64_t r = module.factor_a.size(0), in = module.factor_a.size(1), out = module.factor_b.size(0);
  const TensorView scaled_a = scope.take({r, in}), bt = scope.take({r, out}), terms = scope.take({r, out}),
                   gram = scope.take({r, r}), db = scope.take({out, r}), q = scope.take({r, in});
  transpose(backend_, {.from = module.factor_b, .to = bt});
  scale_columns_forward(backend_, {.u = module.factor_a, .gain = c, .bias = {}, .y = scaled_a});
  // dB^T += (A.c) W^T + s ((A.c) A^T)^T B^T; the middle factor is symmetric
  module.linear->weight->forward(scaled_a, terms, false);
  matmul(backend_, {.a = scaled_a, .b = module.factor_a, .c = gram, .transpose_b = true});
  matmul(backend_, {.a = gram, .b = bt, .c = terms, .scale = view.scale, .accumulate = true});
  transpose(backend_, {.from = terms, .to = db});
  add(backend_, {.x = db, .y = view.db});
  // dA += (B^T W).c + s (B^T B)(A.c)
  module.linear->weight->input_gradient(bt, q, false);
  scale_columns_forward(backend_, {.u = q, .gain = c, .bias = {}, .y = q});
  add(backend_, {.x = q, .y = view.da});
  matmul(backend_, {.a = module.factor_b, .b = module.factor_b, .c = gram, .transpose_a = true});
  matmul(backend_, {.a = gram, .b = scaled_a, .c = view.da, .scale = view.scale, .accumulate = true});
}

}  // namespace shardora
