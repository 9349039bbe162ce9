// Rotary position embedding on the CPU: each token's heads share one row of the tables.
#include "kernels/cpu/loops/columns.h"
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

// The sizes and tables of a call, checked.
struct Turns {
  std::int64_t tokens, heads, head_dim;
  const std::int32_t* positions;
  const float *cosines, *sines;

  Turns(const Shape& shape, TensorView all_positions, const RopeTable& table)
      : tokens(shape[0]), heads(shape[1]), head_dim(shape[2]) {
    const std::int64_t max_positions = table.cosines.size(0);
    SHARDORA_CHECK(head_dim % 2 == 0 && all_positions.elements() == tokens);
    SHARDORA_CHECK(table.cosines.shape == table.sines.shape && table.cosines.size(1) == head_dim / 2);
    positions = all_positions.as<std::int32_t>();
    cosines = table.cosines.as<float>();
    sines = table.sines.as<float>();
    // Checked before the loop: an exception must not leave a parallel region.
    for (std::int64_t t = 0; t < tokens; ++t) SHARDORA_CHECK(positions[t] >= 0 && positions[t] < max_positions);
  }

  // pair(j1, j2, cosine, sine) for the pairs of columns of token t.
  template <class Pair>
  SHARDORA_INLINE void for_each_pair(std::int64_t t, const Pair& pair) const {
    const std::int64_t half = head_dim / 2;
    const float* cosine = cosines + positions[t] * half;
    const float* sine = sines + positions[t] * half;
    for (std::int64_t head = 0; head < heads; ++head) {
      const std::int64_t first = head * head_dim;
#pragma omp simd
      for (std::int64_t i = 0; i < half; ++i) pair(first + i, first + half + i, cosine[i], sine[i]);
    }
  }
};

template <class ColumnsType>
void forward(const RopeForward& op, const Turns& turns, ColumnsType columns) {
  const std::int64_t width = turns.heads * turns.head_dim;
  const auto* u = op.x.u.as<float>();
  auto* y = op.y.as<float>();
  for_each_row(turns.tokens, width, [=](std::int64_t t) {
    const float* u_row = u + t * width;
    float* y_row = y + t * width;
    turns.for_each_pair(t, [=](std::int64_t j1, std::int64_t j2, float cosine, float sine) {
      const formulas::Pair x{columns.output(u_row[j1], j1), columns.output(u_row[j2], j2)};
      const formulas::Pair turned = formulas::rotate(x, cosine, sine);
      y_row[j1] = turned.x1;
      y_row[j2] = turned.x2;
    });
  });
}

void backward_plain(const RopeBackward& op, const Turns& turns) {
  const std::int64_t width = turns.heads * turns.head_dim;
  const auto* dy = op.dy.as<float>();
  auto* du = op.dx.du.as<float>();
  for_each_row(turns.tokens, width, [=](std::int64_t t) {
    const float* dy_row = dy + t * width;
    float* du_row = du + t * width;
    turns.for_each_pair(t, [=](std::int64_t j1, std::int64_t j2, float cosine, float sine) {
      const formulas::Pair turned = formulas::rotate({dy_row[j1], dy_row[j2]}, cosine, -sine);
      du_row[j1] = turned.x1;
      du_row[j2] = turned.x2;
    });
  });
}

void backward_with_sum(const RopeBackward& op, const Turns& turns, Columns columns, Scratch& scratch) {
  const std::int64_t width = turns.heads * turns.head_dim;
  SHARDORA_CHECK(op.x.u.shape == op.dy.shape && op.dx.h.elements() == width);
  const auto* dy = op.dy.as<float>();
  const auto* u = op.x.u.as<float>();
  auto* du = op.dx.du.as<float>();
  auto* h = op.dx.h.as<float>();
  const auto add_row = [=](std::int64_t t, float* sums) {
    const float* dy_row = dy + t * width;
    const float* u_row = u + t * width;
    float* du_row = du + t * width;
    turns.for_each_pair(t, [=](std::int64_t j1, std::int64_t j2, float cosine, float sine) {
      const formulas::Pair turned = formulas::rotate({dy_row[j1], dy_row[j2]}, cosine, -sine);
      sums[j1] += turned.x1 * u_row[j1];
      sums[j2] += turned.x2 * u_row[j2];
      du_row[j1] = columns.gradient(turned.x1, j1);
      du_row[j2] = columns.gradient(turned.x2, j2);
    });
  };
  sum_rows(turns.tokens, width, scratch, add_row, [=](std::int64_t j, float total) { h[j] += total; });
}

}  // namespace

void LevelLoops::rope_forward(const RopeForward& op) {
  SHARDORA_CHECK(op.x.u.shape == op.y.shape);
  const Turns turns(op.y.shape, op.positions, op.table);
  if (plain(op.x)) return forward(op, turns, PlainColumns{});
  forward(op, turns, ColumnsOf(neutral_, turns.heads * turns.head_dim)(op.x));
}

void LevelLoops::rope_backward(const RopeBackward& op) {
  SHARDORA_CHECK(op.dx.du.shape == op.dy.shape && !op.x.gain == !op.dx.h);
  const Turns turns(op.dy.shape, op.positions, op.table);
  if (!op.dx.h) return backward_plain(op, turns);
  backward_with_sum(op, turns, ColumnsOf(neutral_, turns.heads * turns.head_dim)(op.x), scratch_);
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
