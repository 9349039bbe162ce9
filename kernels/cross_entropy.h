// Softmax cross-entropy over a vocabulary that tensor ranks share; each rank holds columns [first_column, + columns).
// Three passes with a reduction over the tensor group after the first (max) and the second (sum):
//
//   max      row_max[t] = max_j logits[t,j]                                            (-inf for no columns)
//   sum      sums[0,t] = sum_j exp(logits[t,j] - row_max[t]),   sums[1,t] = logits[t,target[t]] if held here, else 0
//   finish   loss += sum_t (log sums[0,t] + row_max[t] - sums[1,t]),  correct += number of t where target's is the max
//            dlogits[t,j] = scale * (exp(logits[t,j] - row_max[t]) / sums[0,t] - [j is the target])   (=)
//
// loss and correct are counted over all rows by each rank alike (they depend on reduced values only).
#pragma once

#include "kernels/backend.h"

namespace shardora {

struct CrossEntropy {
  TensorView logits;   // [rows, columns], fp32
  TensorView dlogits;  // [rows, columns]; empty: over the logits; else in memory apart, on a GPU, fp32 or bfloat16
  TensorView targets;  // int32 [rows], logical vocabulary ids
  std::int64_t first_column = 0;
  TensorView row_max;  // [rows]
  TensorView sums;     // [2, rows]
  TensorView loss;     // float64 [2]: sum of losses, number of correct predictions; +=
  float gradient_scale = 1.0F;
  bool write_gradient = true;  // finish writes dlogits
};
// What every backend asks of the views before it starts.
struct CrossEntropySizes {
  std::int64_t rows, columns;
};
SHARDORA_HOST_INLINE CrossEntropySizes checked_sizes(const CrossEntropy& op) {
  const CrossEntropySizes sizes{op.logits.size(0), op.logits.size(1)};
  SHARDORA_CHECK(op.targets.elements() == sizes.rows && op.row_max.elements() == sizes.rows);
  SHARDORA_CHECK(op.sums.elements() == 2 * sizes.rows);
  return sizes;
}
void cross_entropy_max(Backend& backend, const CrossEntropy& op);
void cross_entropy_sum(Backend& backend, const CrossEntropy& op);
void cross_entropy_finish(Backend& backend, const CrossEntropy& op);

}  // namespace shardora
