// RMSNorm on the CPU: one row a time, its sums in lanes; the weight's gradient over all rows.
#include <cmath>

#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

// dweight[j] += sum_t dy[t,j] * x[t,j] * rstd[t].
void weight_gradient(const RmsNormBackward& op, Scratch& scratch) {
  const std::int64_t rows = op.x.size(0);
  const std::int64_t width = op.x.size(1);
  SHARDORA_CHECK(op.dweight.elements() == width);
  const auto* dy = op.dy.as<float>();
  const auto* x = op.x.as<float>();
  const auto* rstd = op.rstd.as<float>();
  auto* dweight = op.dweight.as<float>();
  const auto add_row = [=](std::int64_t t, float* sums) {
    const float* dy_row = dy + t * width;
    const float* x_row = x + t * width;
    const float r = rstd[t];
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) sums[j] += dy_row[j] * (x_row[j] * r);
  };
  sum_rows(rows, width, scratch, add_row, [=](std::int64_t j, float total) { dweight[j] += total; });
}

}  // namespace

void LevelLoops::rms_norm_forward(const RmsNormForward& op) {
  const std::int64_t rows = op.x.size(0);
  const std::int64_t width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.weight.elements() == width && op.rstd.elements() == rows);
  const auto* x = op.x.as<float>();
  const auto* weight = op.weight.as<float>();
  auto* y = op.y.as<float>();
  auto* rstd = op.rstd.as<float>();
  const double epsilon = op.epsilon;
  for_each_row(rows, width, [=](std::int64_t t) {
    const float* x_row = x + t * width;
    float* y_row = y + t * width;
    const double squares = sum_of(width, [=](std::int64_t j) { return x_row[j] * x_row[j]; });
    const auto r = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(width) + epsilon));
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) y_row[j] = weight[j] * (x_row[j] * r);
    rstd[t] = r;
  });
}

void LevelLoops::rms_norm_backward(const RmsNormBackward& op) {
  const std::int64_t rows = op.x.size(0);
  const std::int64_t width = op.x.size(1);
  SHARDORA_CHECK(op.dy.shape == op.x.shape && op.dx.shape == op.x.shape);
  SHARDORA_CHECK(op.weight.elements() == width && op.rstd.elements() == rows);
  SHARDORA_CHECK(!op.accumulate || op.dx.data != op.dy.data);
  if (op.dweight) weight_gradient(op, scratch_);  // first: dx may overwrite dy
  const auto* dy = op.dy.as<float>();
  const auto* x = op.x.as<float>();
  const auto* weight = op.weight.as<float>();
  const auto* rstd = op.rstd.as<float>();
  auto* dx = op.dx.as<float>();
  const bool accumulate = op.accumulate;
  for_each_row(rows, width, [=](std::int64_t t) {
    const float* dy_row = dy + t * width;
    const float* x_row = x + t * width;
    float* dx_row = dx + t * width;
    const float r = rstd[t];
    const double dot = sum_of(width, [=](std::int64_t j) { return dy_row[j] * weight[j] * x_row[j]; });
    const auto pull = static_cast<float>(dot / static_cast<double>(width) * r * r);
    const auto gradient = [=](std::int64_t j) { return r * (dy_row[j] * weight[j] - x_row[j] * pull); };
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) dx_row[j] = gradient(j) + (accumulate ? dx_row[j] : 0.0F);
  });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
