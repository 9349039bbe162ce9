// Formulas of single elements that every backend computes alike; a backend owns only its loops. The contracts beside
// this file say what they mean.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/inline.h"

namespace shardora::formulas {

// --- SwiGLU, with s = sigmoid(gate)

SHARDORA_INLINE float swiglu(float gate, float up, float s) { return gate * s * up; }
SHARDORA_INLINE float swiglu_dgate(float dy, float gate, float up, float s) {
  return dy * up * s * (1.0F + gate * (1.0F - s));
}
SHARDORA_INLINE float swiglu_dup(float dy, float gate, float s) { return dy * gate * s; }

// --- Rotary embedding; a negative sine turns back

struct Pair {
  float x1, x2;
};
SHARDORA_INLINE Pair rotate(Pair x, float cosine, float sine) {
  return {x.x1 * cosine - x.x2 * sine, x.x2 * cosine + x.x1 * sine};
}

// --- DoRA; comparisons are written so that NaN stays NaN

constexpr float kSmallestNorm = 1e-12F;

SHARDORA_INLINE float floored_norm(float n) { return n < kSmallestNorm ? kSmallestNorm : n; }
SHARDORA_INLINE float norm_of_square(float squared) { return std::sqrt(squared < 0.0F ? 0.0F : squared); }
SHARDORA_INLINE float norm_gradient_factor(float m, float n, float h) {
  // float64: n^3 would be subnormal in fp32 for n < 2e-13, and m h may overflow where the quotient does not.
  const double cube = static_cast<double>(n) * n * n;
  return n < kSmallestNorm ? 0.0F : static_cast<float>(-static_cast<double>(m) * h / cube);
}

// ||w + s b a||^2 from its sums, and the part of it that is never negative: the digits that are left.
struct FactoredSquare {
  double squared, reference;
};
SHARDORA_INLINE FactoredSquare factored_square(double w, double s, double cross, double third) {
  const double reference = w + s * s * third;
  return {reference + 2.0 * s * cross, reference};
}

// --- Cross-entropy of one row: sum and target's logit as the contract has them

SHARDORA_INLINE double cross_entropy_loss(float sum, float row_max, float target) {
  return std::log(static_cast<double>(sum)) + row_max - target;
}

// --- AdamW: scalars in float64, elements in fp32, as torch

struct AdamWScalars {
  float gradient_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, step_size, root_correction2, epsilon;
};
inline AdamWScalars adamw_scalars(double learning_rate, double beta1, double beta2, double epsilon, double weight_decay,
                                  std::int64_t step, double gradient_scale) {
  const double correction1 = 1.0 - std::pow(beta1, static_cast<double>(step));
  const double correction2 = 1.0 - std::pow(beta2, static_cast<double>(step));
  return {.gradient_scale = static_cast<float>(gradient_scale),
          .decay = static_cast<float>(learning_rate * weight_decay),
          .beta1 = static_cast<float>(beta1),
          .one_minus_beta1 = static_cast<float>(1.0 - beta1),
          .beta2 = static_cast<float>(beta2),
          .one_minus_beta2 = static_cast<float>(1.0 - beta2),
          .step_size = static_cast<float>(learning_rate / correction1),
          .root_correction2 = static_cast<float>(std::sqrt(correction2)),
          .epsilon = static_cast<float>(epsilon)};
}
SHARDORA_INLINE void adamw(const AdamWScalars& s, float gradient, float& value, float& moment1, float& moment2) {
  const float g = s.gradient_scale * gradient;
  const float m1 = s.beta1 * moment1 + s.one_minus_beta1 * g;
  const float m2 = s.beta2 * moment2 + s.one_minus_beta2 * (g * g);
  // One subtraction for decay and step together: near value = 1 each rounding costs a permille of a step of 1e-5.
  value -= s.decay * value + s.step_size * (m1 / (std::sqrt(m2) / s.root_correction2 + s.epsilon));
  moment1 = m1;
  moment2 = m2;
}

}  // namespace shardora::formulas
