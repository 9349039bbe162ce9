// The gain as a pass of its own, with what else happens to the same elements, on the CPU.
#include "kernels/cpu/loops/columns.h"
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

template <class ColumnsType>
void scale_forward(const ScaleColumnsForward& op, ColumnsType columns) {
  const std::int64_t width = op.u.size(1);
  const auto* u = op.u.as<float>();
  const float* residual = op.residual ? op.residual.as<float>() : nullptr;
  auto* y = op.y.as<float>();
  for_each_row(op.u.size(0), width, [=](std::int64_t t) {
    const float* u_row = u + t * width;
    float* y_row = y + t * width;
    if (residual != nullptr) {
      const float* residual_row = residual + t * width;
#pragma omp simd
      for (std::int64_t j = 0; j < width; ++j) y_row[j] = residual_row[j] + columns.output(u_row[j], j);
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < width; ++j) y_row[j] = columns.output(u_row[j], j);
    }
  });
}

template <class Write>
void scale_backward(const ScaleColumnsBackward& op, Scratch& scratch, const Write& write) {
  const std::int64_t tokens = op.dy.size(0);
  const std::int64_t width = op.dy.size(1);
  const auto* dy = op.dy.as<float>();
  auto* du = op.du.as<float>();
  if (!op.h) {
    for_each_row(tokens, width, [=](std::int64_t t) {
#pragma omp simd
      for (std::int64_t j = 0; j < width; ++j) write(du[t * width + j], dy[t * width + j], j);
    });
    return;
  }
  const auto* u = op.u.as<float>();
  auto* h = op.h.as<float>();
  const auto row = [=](std::int64_t t, float* sums) {
    const float* dy_row = dy + t * width;
    const float* u_row = u + t * width;
    float* du_row = du + t * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      const float gradient = dy_row[j];  // before du, which may be dy
      sums[j] += gradient * u_row[j];
      write(du_row[j], gradient, j);
    }
  };
  sum_rows(tokens, width, scratch, row, [=](std::int64_t j, float total) { h[j] += total; });
}

}  // namespace

void LevelLoops::scale_columns_forward(const ScaleColumnsForward& op) {
  SHARDORA_CHECK(op.y.shape == op.u.shape && (!op.residual || op.residual.shape == op.u.shape));
  const LinearProduct product{.u = op.u, .gain = op.gain, .bias = op.bias};
  if (!plain(product)) return scale_forward(op, ColumnsOf(neutral_, op.u.size(1))(product));
  if (op.residual || op.y.data != op.u.data) scale_forward(op, PlainColumns{});
}

void LevelLoops::scale_columns_backward(const ScaleColumnsBackward& op) {
  const std::int64_t width = op.dy.size(1);
  SHARDORA_CHECK(op.du.shape == op.dy.shape && (!op.h || (op.u.shape == op.dy.shape && op.h.elements() == width)));
  SHARDORA_CHECK(!op.accumulate || op.du.data != op.dy.data);
  const Columns columns = ColumnsOf(neutral_, width)({.u = op.u, .gain = op.gain, .bias = {}});
  if (op.accumulate) {
    scale_backward(op, scratch_, [=](float& du, float dy, std::int64_t j) { du += columns.gradient(dy, j); });
  } else {
    scale_backward(op, scratch_, [=](float& du, float dy, std::int64_t j) { du = columns.gradient(dy, j); });
  }
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
