// Where a block's activations cross between replicated and cut features. Blocks call these and no collective; under
// sequence parallelism only these change.
//
// clang-format off
//              before a column-parallel layer                after a row-parallel layer
//   forward    x is replicated: nothing to do                row_parallel_output: partial y -> all-reduced
//   backward   column_parallel_input_backward:               dy is replicated: nothing to do
//              partial dx -> all-reduced
// clang-format on
#pragma once

#include "kernels/backend.h"
#include "runtime/comm/communicator.h"

namespace shardora {

class TensorParallel {
 public:
  TensorParallel(Backend& backend, Communicator& group) : backend_(&backend), group_(&group) {}

  void row_parallel_output(TensorView y) const { reduce(y, Reduction::kSum); }
  void column_parallel_input_backward(TensorView dx) const { reduce(dx, Reduction::kSum); }
  // Each rank looked up its own rows of the vocabulary: the sum is the embedding.
  void all_reduce_embedding(TensorView y) const { reduce(y, Reduction::kSum); }
  void all_reduce_row_max(TensorView row_max) const { reduce(row_max, Reduction::kMax); }
  void all_reduce_row_sums(TensorView sums) const { reduce(sums, Reduction::kSum); }

  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }

 private:
  void reduce(TensorView values, Reduction reduction) const {
    if (group_->size() == 1) return;
    backend_->wait(group_->all_reduce(values, reduction, backend_->record()));
  }
  Backend* backend_;     // not owned
  Communicator* group_;  // not owned
};

}  // namespace shardora
