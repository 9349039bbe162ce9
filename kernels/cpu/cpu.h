// The CPU's half of the contracts in kernels/*.h: the same names without the backend. Work is done when they return.
// What is a loop of our own that gains from wider vectors stands in loops.h.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/checksum.h"
#include "kernels/cpu/loops.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/reduce.h"
#include "kernels/weight_matrix.h"

namespace shardora::cpu {

class GemmCache;

std::unique_ptr<Backend> make_backend(const BackendOptions& options);
Loops& loops_of(Backend& backend);           // a backend of make_backend() above
GemmCache& gemm_cache_of(Backend& backend);  // a backend of make_backend() above
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight);
std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan);

#define SHARDORA_PLAIN(name, Op) void name(const Op& op);
#include "kernels/operations.def"
void matmul(Loops& loops, const MatMul& op);

double sum_of_squares(TensorView x);
std::uint64_t checksum_words(TensorView view);

}  // namespace shardora::cpu
