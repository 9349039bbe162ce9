// Rotary position embedding on the CPU: each token's heads share one row of the tables.
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

// direction +1 turns forward, -1 back.
void turn(const Rope& op, float direction) {
  const std::int64_t tokens = op.x.size(0);
  const std::int64_t heads = op.x.size(1);
  const std::int64_t head_dim = op.x.size(2);
  const std::int64_t half = head_dim / 2;
  const std::int64_t max_positions = op.cosines.size(0);
  SHARDORA_CHECK(head_dim % 2 == 0 && op.positions.elements() == tokens);
  SHARDORA_CHECK(op.cosines.shape == op.sines.shape && op.cosines.size(1) == half);
  auto* x = op.x.as<float>();
  const auto* positions = op.positions.as<std::int32_t>();
  const auto* cosines = op.cosines.as<float>();
  const auto* sines = op.sines.as<float>();
  // Checked before the loop: an exception must not leave a parallel region.
  for (std::int64_t t = 0; t < tokens; ++t) SHARDORA_CHECK(positions[t] >= 0 && positions[t] < max_positions);
  for_each_row(tokens, heads * head_dim, [=](std::int64_t t) {
    const float* cosine = cosines + positions[t] * half;
    const float* sine = sines + positions[t] * half;
    for (std::int64_t head = 0; head < heads; ++head) {
      float* x1 = x + (t * heads + head) * head_dim;
      float* x2 = x1 + half;
#pragma omp simd
      for (std::int64_t i = 0; i < half; ++i) {
        const formulas::Pair turned = formulas::rotate({x1[i], x2[i]}, cosine[i], direction * sine[i]);
        x1[i] = turned.x1;
        x2[i] = turned.x2;
      }
    }
  });
}

}  // namespace

void LevelLoops::rope_forward(const Rope& op) { turn(op, 1.0F); }
void LevelLoops::rope_backward(const Rope& op) { turn(op, -1.0F); }

}  // namespace shardora::cpu::SHARDORA_LEVEL
