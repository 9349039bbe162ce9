// DoRA's own passes on the CPU, but for the gain (gain.cc) and the norms (dora_norm.cc).
#include <cmath>

#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
void LevelLoops::dora_gain(const DoraGain& op) {
  const std::int64_t width = op.gain.elements();
  SHARDORA_CHECK(op.magnitude.elements() == width && op.norm.elements() == width);
  const auto* m = op.magnitude.as<float>();
  const auto* n = op.norm.as<float>();
  auto* gain = op.gain.as<float>();
  for_each_element(width, [=](std::int64_t j) { gain[j] = m[j] / formulas::floored_norm(n[j]); });
}

void LevelLoops::dropout_gain_forward(const DropoutGainForward& op) {
  const std::int64_t tokens = op.base.size(0);
  const std::int64_t width = op.base.size(1);
  SHARDORA_CHECK(op.p.shape == op.base.shape && op.e.shape == op.base.shape && op.gain.elements() == width);
  SHARDORA_CHECK(op.y.shape == op.base.shape && op.u.shape == op.base.shape && op.y.data != op.u.data);
  const auto* base = op.base.as<float>();
  const auto* p = op.p.as<float>();
  const auto* e = op.e.as<float>();
  const auto* gain = op.gain.as<float>();
  auto* y = op.y.as<float>();
  auto* u = op.u.as<float>();
  for_each_row(tokens, width, [=](std::int64_t t) {
    const std::int64_t row = t * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) {
      const float direction = p[row + j] + e[row + j];
      y[row + j] = base[row + j] + ((gain[j] - 1.0F) * p[row + j] + gain[j] * e[row + j]);
      u[row + j] = direction;  // last: u may be p
    }
  });
}

void LevelLoops::gain_minus_one(const GainMinusOne& op) {
  const std::int64_t width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.gain.elements() == width);
  const auto* x = op.x.as<float>();
  const auto* gain = op.gain.as<float>();
  auto* y = op.y.as<float>();
  for_each_row(op.x.size(0), width, [=](std::int64_t t) {
    const std::int64_t row = t * width;
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) y[row + j] = (gain[j] - 1.0F) * x[row + j];
  });
}

void LevelLoops::initial_magnitude(const InitialMagnitude& op) {
  const std::int64_t width = op.magnitude.elements();
  SHARDORA_CHECK(op.norm.elements() == width);
  const auto* n = op.norm.as<float>();
  auto* m = op.magnitude.as<float>();
  for_each_element(width, [=](std::int64_t j) { m[j] = formulas::floored_norm(n[j]); });
}

void LevelLoops::norm_gradient_factor(const NormGradientFactor& op) {
  const std::int64_t width = op.c.elements();
  SHARDORA_CHECK(op.magnitude.elements() == width && op.norm.elements() == width && op.h.elements() == width);
  const auto* m = op.magnitude.as<float>();
  const auto* n = op.norm.as<float>();
  const auto* h = op.h.as<float>();
  auto* c = op.c.as<float>();
  const float s = op.scale;
  for_each_element(width, [=](std::int64_t j) { c[j] = s * formulas::norm_gradient_factor(m[j], n[j], h[j]); });
}

void LevelLoops::magnitude_gradient(const MagnitudeGradient& op) {
  SHARDORA_CHECK(op.h.elements() == op.norm.elements());
  const auto* n = op.norm.as<float>();
  auto* h = op.h.as<float>();
  for_each_element(op.h.elements(), [=](std::int64_t j) { h[j] /= formulas::floored_norm(n[j]); });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
