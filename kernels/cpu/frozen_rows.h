// What any frozen weight can do that can give its rows in fp32: lookups, reading, and the norms made at load.
#pragma once

#include "kernels/weight_matrix.h"

namespace shardora::cpu {

class FrozenRows : public WeightMatrix {
 public:
  std::int64_t out_features() const final { return out_; }
  std::int64_t in_features() const final { return in_; }
  void gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const final;
  void read_rows(std::int64_t first, TensorView rows) const final;
  void row_squared_norms(TensorView out) const final;
  void column_squared_norms(TensorView out) const final;

 protected:
  FrozenRows(std::int64_t out, std::int64_t in) : out_(out), in_(in) {}
  virtual void copy_row(std::int64_t o, float* to) const = 0;  // W[o,:] to fp32 [in]; from several threads at once

  const std::int64_t out_, in_;
};

// Weights rounded to bfloat16, in one row-major copy; kernels/weight_matrix.h says the rest.
std::unique_ptr<WeightMatrix> make_bf16_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight);

}  // namespace shardora::cpu
