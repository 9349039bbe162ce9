#include "kernels/adamw.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/elements.h"
#include "kernels/formulas.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVectorWidth = AlignedVector<float>::kCount;

// Thread i takes vector i, and element i of the rest that fills no vector.
__global__ void adamw_kernel(formulas::AdamWScalars scalars, const float* gradient, float* value, float* moment1,
                             float* moment2, std::int64_t vectors, std::int64_t count) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < vectors) {
    const AlignedVector<float> g = load_vector(gradient + i * kVectorWidth);
    AlignedVector<float> v = load_vector(value + i * kVectorWidth), m1 = load_vector(moment1 + i * kVectorWidth),
                         m2 = load_vector(moment2 + i * kVectorWidth);
#pragma unroll
    for (int k = 0; k < kVectorWidth; ++k)
      formulas::adamw(scalars, g.values[k], v.values[k], m1.values[k], m2.values[k]);
    store_vector(value + i * kVectorWidth, v);
    store_vector(moment1 + i * kVectorWidth, m1);
    store_vector(moment2 + i * kVectorWidth, m2);
  }
  const std::int64_t rest = vectors * kVectorWidth + i;
  if (rest < count) formulas::adamw(scalars, gradient[rest], value[rest], moment1[rest], moment2[rest]);
}

}  // namespace

void adamw(Backend& backend, const AdamW& op) {
  const std::int64_t count = op.value.elements();
  SHARDORA_CHECK(op.gradient.elements() == count && op.moment1.elements() == count && op.moment2.elements() == count);
  SHARDORA_CHECK(op.step >= 1);
  const float* const gradient = op.gradient.as<float>();
  float *const value = op.value.as<float>(), *const moment1 = op.moment1.as<float>(),
               *const moment2 = op.moment2.as<float>();
  const std::int64_t vectors = whole_vectors<float>(count, {gradient, value, moment1, moment2});
  const std::int64_t threads = std::max(vectors, count - vectors * kVectorWidth);
  launch(adamw_kernel, static_cast<unsigned>((threads + kThreads - 1) / kThreads), kThreads, 0, stream_of(backend),
         formulas::adamw_scalars(op.learning_rate, op.beta1, op.beta2, op.epsilon, op.weight_decay, op.step,
                                 op.gradient_scale),
         gradient, value, moment1, moment2, vectors, count);
}

}  // namespace shardora::cuda
