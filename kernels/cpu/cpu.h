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

class ProductCache;

std::unique_ptr<Backend> make_backend(const BackendOptions& options);
Loops& loops_of(Backend& backend);            // a backend of make_backend() above
ProductCache& products_of(Backend& backend);  // a backend of make_backend() above
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight);
std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan);

void matmul(Loops& loops, const MatMul& op);
void transpose(const Transpose& op);

void embedding_gather(const EmbeddingGather& op);
void embedding_scatter(const EmbeddingScatter& op);

void convert(const Convert& op);
void gather_rows(const MoveRows& op);
void scatter_rows(const MoveRows& op);
void write_rows(const MoveRows& op);

void fill_uniform(const RandomFill& op);
void fill_normal(const RandomFill& op);

double sum_of_squares(TensorView x);
std::uint64_t checksum_words(TensorView view);
void row_squared_norms(const SquaredNorms& op);
void column_squared_norms(const SquaredNorms& op);

}  // namespace shardora::cpu
