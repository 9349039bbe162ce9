// Small passes over activations on the CPU.
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"

namespace shardora::cpu::SHARDORA_LEVEL {

void LevelLoops::add(const Add& op) {
  SHARDORA_CHECK(op.x.shape == op.y.shape);
  const auto* x = op.x.as<float>();
  auto* y = op.y.as<float>();
  for_each_element(op.y.elements(), [=](std::int64_t i) { y[i] += x[i]; });
}

void LevelLoops::column_sum(const ColumnSum& op) {
  const std::int64_t tokens = op.dy.size(0);
  const std::int64_t width = op.dy.size(1);
  SHARDORA_CHECK(op.dbias.elements() == width);
  const auto* dy = op.dy.as<float>();
  auto* dbias = op.dbias.as<float>();
  const auto add_row = [=](std::int64_t t, float* sums) {
    const float* dy_row = dy + t * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) sums[j] += dy_row[j];
  };
  sum_rows(tokens, width, scratch_, add_row, [=](std::int64_t j, float total) { dbias[j] += total; });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
