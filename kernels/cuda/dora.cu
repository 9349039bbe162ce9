// DoRA's passes over one number a column: a gain, a norm, their gradients.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/dora.h"
#include "kernels/formulas.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 128;

template <class Body>
__global__ void each_column_kernel(std::int64_t width, Body body) {
  const std::int64_t j = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (j < width) body(j);
}

template <class Body>
void each_column(Backend& backend, std::int64_t width, const Body& body) {
  launch(each_column_kernel<Body>, static_cast<unsigned>((width + kThreads - 1) / kThreads), kThreads, 0,
         stream_of(backend), width, body);
}

}  // namespace

void dora_gain(Backend& backend, const DoraGain& op) {
  const std::int64_t width = op.gain.elements();
  SHARDORA_CHECK(op.magnitude.elements() == width && op.norm.elements() == width);
  const auto *const m = op.magnitude.as<float>(), *const n = op.norm.as<float>();
  auto* const gain = op.gain.as<float>();
  each_column(backend, width, [=] __device__(std::int64_t j) { gain[j] = m[j] / formulas::floored_norm(n[j]); });
}

void low_rank_norm(Backend& backend, const LowRankNorm& op) {
  const std::int64_t rank = op.x.size(0), width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.z.shape == op.x.shape && op.squared_weight.elements() == width);
  SHARDORA_CHECK(op.squared.elements() == width && op.reference.elements() == width);
  const auto *const w = op.squared_weight.as<float>(), *const x = op.x.as<float>(), *const y = op.y.as<float>(),
                    *const z = op.z.as<float>();
  auto *const squared = op.squared.as<float>(), *const reference = op.reference.as<float>();
  const double s = op.scale;
  each_column(backend, width, [=] __device__(std::int64_t j) {
    double cross = 0, third = 0;
    for (std::int64_t at = j; at < rank * width; at += width) {
      cross += static_cast<double>(x[at]) * y[at];
      third += static_cast<double>(x[at]) * z[at];
    }
    const formulas::FactoredSquare norm = formulas::factored_square(w[j], s, cross, third);
    squared[j] = static_cast<float>(norm.squared);
    reference[j] = static_cast<float>(norm.reference);
  });
}

void norm_from_square(Backend& backend, const NormFromSquare& op) {
  SHARDORA_CHECK(op.norm.elements() == op.squared.elements());
  const auto* const squared = op.squared.as<float>();
  auto* const norm = op.norm.as<float>();
  each_column(backend, op.norm.elements(),
              [=] __device__(std::int64_t j) { norm[j] = formulas::norm_of_square(squared[j]); });
}

void initial_magnitude(Backend& backend, const InitialMagnitude& op) {
  const std::int64_t width = op.magnitude.elements();
  SHARDORA_CHECK(op.norm.elements() == width);
  const auto* const n = op.norm.as<float>();
  auto* const m = op.magnitude.as<float>();
  each_column(backend, width, [=] __device__(std::int64_t j) { m[j] = formulas::floored_norm(n[j]); });
}

void norm_gradient_factor(Backend& backend, const NormGradientFactor& op) {
  const std::int64_t width = op.c.elements();
  SHARDORA_CHECK(op.magnitude.elements() == width && op.norm.elements() == width && op.h.elements() == width);
  const auto *const m = op.magnitude.as<float>(), *const n = op.norm.as<float>(), *const h = op.h.as<float>();
  auto* const c = op.c.as<float>();
  const float s = op.scale;
  each_column(backend, width,
              [=] __device__(std::int64_t j) { c[j] = s * formulas::norm_gradient_factor(m[j], n[j], h[j]); });
}

void magnitude_gradient(Backend& backend, const MagnitudeGradient& op) {
  SHARDORA_CHECK(op.h.elements() == op.norm.elements());
  const auto* const n = op.norm.as<float>();
  auto* const h = op.h.as<float>();
  each_column(backend, op.h.elements(), [=] __device__(std::int64_t j) { h[j] /= formulas::floored_norm(n[j]); });
}

}  // namespace shardora::cuda
