// The GPU's half of the contracts in kernels/*.h: the same operations, queued on the backend's stream. Activations may
// be fp32 or bfloat16, all of one call alike; everything else is fp32 as the contracts say. Arithmetic is fp32 always.
#pragma once

#include <memory>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/backend.h"
#include "kernels/cross_entropy.h"
#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gain.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "kernels/weight_matrix.h"

namespace shardora::cuda {

std::vector<CudaDevice> devices();
CudaVersions versions();
std::unique_ptr<Backend> make_backend(const BackendOptions& options);
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan,
                                                 const MatrixRows& rows);

#define SHARDORA_LOOP(name, Op) void name(Backend& backend, const Op& op);
#define SHARDORA_PLAIN(name, Op) void name(Backend& backend, const Op& op);
#include "kernels/operations.def"
void matmul(Backend& backend, const MatMul& op);

void prepare_attention(Backend& backend, const AttentionPlan& plan);
std::int64_t attention_bytes(Backend& backend, const AttentionPlan& plan);
double sum_of_squares(Backend& backend, TensorView x);
std::uint64_t checksum_words(Backend& backend, TensorView view);

}  // namespace shardora::cuda
