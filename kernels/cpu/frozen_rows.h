// What any frozen weight can do that can give its rows in fp32: lookups, reading, and the norms made at load.
#pragma once

#include "kernels/float_types.h"
#include "kernels/weight_matrix.h"

namespace shardora::cpu {

// Element i of a weight as it is given, in fp32, float16 or bfloat16.
inline float element_as_float(const TensorView& view, std::int64_t i) {
  if (view.dtype == DType::kBF16) return float_from_bf16(static_cast<const std::uint16_t*>(view.data)[i]);
  if (view.dtype == DType::kF16) return float_from_f16(static_cast<const std::uint16_t*>(view.data)[i]);
  return view.as<float>()[i];
}

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

// Weights rounded to bfloat16, in one row-major copy; the contract is in kernels/weight_matrix.h.
std::unique_ptr<WeightMatrix> make_bf16_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight);

}  // namespace shardora::cpu
