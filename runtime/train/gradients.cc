#include "runtime/train/gradients.h"

#include <cmath>

#include "kernels/reduce.h"

namespace shardora {

void reduce_gradients(Backend& backend, const ProcessGrid& grid, ParameterSet& parameters) {
  const TensorView all = parameters.gradients();
  const std::int64_t partial = parameters.partial_elements(), replicated = parameters.replicated_elements();
  if (grid.tensor.size > 1 && replicated > 0) {
    if (grid.tensor.rank != 0) backend.zero(all.rows(partial, replicated - partial));
    backend.wait(grid.tensor_group->all_reduce(all.rows(0, replicated), Reduction::kSum, backend.record()));
  }
  if (grid.data.size > 1) backend.wait(grid.data_group->all_reduce(all, Reduction::kSum, backend.record()));
}

double gradient_norm(Backend& backend, const ProcessGrid& grid, const ParameterSet& parameters) {
  const TensorView all = parameters.gradients();
  const std::int64_t replicated = parameters.replicated_elements();
  const double whole = sum_of_squares(backend, all.rows(0, replicated));
  const double shard = sum_of_squares(backend, all.rows(replicated, parameters.elements() - replicated));
  return std::sqrt(whole + grid.tensor_group->all_reduce(shard, Reduction::kSum));
}

}  // namespace shardora
