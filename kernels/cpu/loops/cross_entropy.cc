// The three passes of the sharded cross-entropy on the CPU. A NaN logit makes its row's sum NaN, and so the loss.
#include <cmath>
#include <limits>

#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/cpu/loops/vector_math.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

float max_of(const float* row, std::int64_t columns) {
  float lanes[kLanes];
  std::fill_n(lanes, kLanes, -std::numeric_limits<float>::infinity());
  std::int64_t j = 0;
  for (; j + kLanes <= columns; j += kLanes) {
#pragma omp simd
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = row[j + lane] > lanes[lane] ? row[j + lane] : lanes[lane];
    }
  }
  for (std::int64_t lane = 0; j + lane < columns; ++lane) lanes[lane] = std::max(lanes[lane], row[j + lane]);
  return *std::max_element(lanes, lanes + kLanes);
}

// Serial and in row order: rows are few, and the sum must not depend on threads.
void add_losses(const CrossEntropy& op, std::int64_t rows) {
  const auto* row_max = op.row_max.as<float>();
  const auto* sums = op.sums.as<float>();
  const float* target_logits = sums + rows;
  auto* loss = op.loss.as<double>();
  double total = 0;
  double correct = 0;
  for (std::int64_t t = 0; t < rows; ++t) {
    total += formulas::cross_entropy_loss(sums[t], row_max[t], target_logits[t]);
    correct += target_logits[t] == row_max[t] ? 1.0 : 0.0;
  }
  loss[0] += total;
  loss[1] += correct;
}

}  // namespace

void LevelLoops::cross_entropy_max(const CrossEntropy& op) {
  const auto [rows, columns] = checked_sizes(op);
  const auto* logits = op.logits.as<float>();
  auto* row_max = op.row_max.as<float>();
  for_each_row(rows, columns,
               [=, columns = columns](std::int64_t t) { row_max[t] = max_of(logits + t * columns, columns); });
}

void LevelLoops::cross_entropy_sum(const CrossEntropy& op) {
  const auto [rows, columns] = checked_sizes(op);
  const auto* logits = op.logits.as<float>();
  const auto* targets = op.targets.as<std::int32_t>();
  const auto* row_max = op.row_max.as<float>();
  auto* sums = op.sums.as<float>();
  auto* target_logits = sums + rows;
  const std::int64_t first_column = op.first_column;
  for_each_row(rows, columns, [=, columns = columns](std::int64_t t) {
    const float* row = logits + t * columns;
    const float max = row_max[t];
    sums[t] = static_cast<float>(sum_of(columns, [=](std::int64_t j) { return fast_exp(row[j] - max); }));
    const std::int64_t target = targets[t] - first_column;
    target_logits[t] = target >= 0 && target < columns ? row[target] : 0.0F;
  });
}

void LevelLoops::cross_entropy_finish(const CrossEntropy& op) {
  const auto [rows, columns] = checked_sizes(op);
  SHARDORA_CHECK(op.loss.elements() == 2);
  add_losses(op, rows);
  if (!op.write_gradient) return;
  SHARDORA_CHECK(!op.dlogits || op.dlogits.data == op.logits.data);
  auto* logits = op.logits.as<float>();
  const auto* targets = op.targets.as<std::int32_t>();
  const auto* row_max = op.row_max.as<float>();
  const auto* sums = op.sums.as<float>();
  const float scale = op.gradient_scale;
  const std::int64_t first_column = op.first_column;
  for_each_row(rows, columns, [=, columns = columns](std::int64_t t) {
    float* row = logits + t * columns;
    const float max = row_max[t];
    const float factor = scale / sums[t];
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) row[j] = factor * fast_exp(row[j] - max);
    const std::int64_t target = targets[t] - first_column;
    if (target >= 0 && target < columns) row[target] -= scale;
  });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
