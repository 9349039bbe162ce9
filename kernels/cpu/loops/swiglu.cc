// SwiGLU on the CPU, row by row, with the gains and biases of its two products.
#include "kernels/cpu/loops/columns.h"
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/cpu/loops/vector_math.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

SHARDORA_INLINE float sigmoid(float x) { return 1.0F / (1.0F + fast_exp(-x)); }

template <class ColumnsType>
void forward(const SwigluForward& op, ColumnsType gate_columns, ColumnsType up_columns) {
  const std::int64_t width = op.y.size(1);
  const auto* gate = op.gate.u.as<float>();
  const auto* up = op.up.u.as<float>();
  auto* y = op.y.as<float>();
  for_each_row(op.y.size(0), width, [=](std::int64_t t) {
    const std::int64_t row = t * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      const float g = gate_columns.output(gate[row + j], j);
      y[row + j] = formulas::swiglu(g, up_columns.output(up[row + j], j), sigmoid(g));
    }
  });
}

// One row's gradients; sum(j, h of gate, h of up) takes the row's terms.
template <class ColumnsType>
struct BackwardRow {
  ColumnsType gate_columns, up_columns;
  const float *dy, *gate, *up;
  float *dgate, *dup;
  std::int64_t width;

  template <class Sum>
  SHARDORA_INLINE void operator()(std::int64_t t, const Sum& sum) const {
    const std::int64_t row = t * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      // All is read before anything is written: outputs may be the inputs.
      const float gate_u = gate[row + j], up_u = up[row + j], d = dy[row + j];
      const float g = gate_columns.output(gate_u, j);
      const float s = sigmoid(g);
      const float gate_gradient = formulas::swiglu_dgate(d, g, up_columns.output(up_u, j), s);
      const float up_gradient = formulas::swiglu_dup(d, g, s);
      sum(j, gate_gradient * gate_u, up_gradient * up_u);
      dgate[row + j] = gate_columns.gradient(gate_gradient, j);
      dup[row + j] = up_columns.gradient(up_gradient, j);
    }
  }
};

template <class ColumnsType>
BackwardRow<ColumnsType> backward_row(const SwigluBackward& op, ColumnsType gate_columns, ColumnsType up_columns) {
  return {.gate_columns = gate_columns,
          .up_columns = up_columns,
          .dy = op.dy.as<float>(),
          .gate = op.gate.u.as<float>(),
          .up = op.up.u.as<float>(),
          .dgate = op.dgate.du.as<float>(),
          .dup = op.dup.du.as<float>(),
          .width = op.dy.size(1)};
}

void backward_plain(const SwigluBackward& op) {
  const auto row = backward_row(op, PlainColumns{}, PlainColumns{});
  for_each_row(op.dy.size(0), row.width, [=](std::int64_t t) { row(t, [](std::int64_t, float, float) {}); });
}

// Both sums are made even where one is not asked for.
void backward_with_sums(const SwigluBackward& op, const ColumnsOf& columns, Scratch& scratch) {
  const auto row = backward_row(op, columns(op.gate), columns(op.up));
  const std::int64_t width = row.width;
  SHARDORA_CHECK((!op.dgate.h || op.dgate.h.elements() == width) && (!op.dup.h || op.dup.h.elements() == width));
  float* h_gate = op.dgate.h ? op.dgate.h.as<float>() : nullptr;
  float* h_up = op.dup.h ? op.dup.h.as<float>() : nullptr;
  const auto add_row = [=](std::int64_t t, float* sums) {
    float* up_sums = sums + width;
    row(t, [=](std::int64_t j, float gate_term, float up_term) {
      sums[j] += gate_term;
      up_sums[j] += up_term;
    });
  };
  sum_rows(op.dy.size(0), 2 * width, scratch, add_row, [=](std::int64_t j, float total) {
    float* h = j < width ? h_gate : h_up;
    if (h != nullptr) h[j < width ? j : j - width] += total;
  });
}

}  // namespace

void LevelLoops::swiglu_forward(const SwigluForward& op) {
  SHARDORA_CHECK(op.up.u.shape == op.y.shape && op.gate.u.shape == op.y.shape);
  if (plain(op.gate) && plain(op.up)) return forward(op, PlainColumns{}, PlainColumns{});
  const ColumnsOf columns(neutral_, op.y.size(1));
  forward(op, columns(op.gate), columns(op.up));
}

void LevelLoops::swiglu_backward(const SwigluBackward& op) {
  const Shape& shape = op.dy.shape;
  SHARDORA_CHECK(op.gate.u.shape == shape && op.up.u.shape == shape);
  SHARDORA_CHECK(op.dgate.du.shape == shape && op.dup.du.shape == shape && op.dgate.du.data != op.dup.du.data);
  if (plain(op.gate) && plain(op.up) && !op.dgate.h && !op.dup.h) return backward_plain(op);
  backward_with_sums(op, ColumnsOf(neutral_, op.dy.size(1)), scratch_);
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
