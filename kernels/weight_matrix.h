// The weight W [out,in] of a linear layer or an embedding table, as the layers use it: one source of W for forward,
// backward, norms, merge and checksums alike.
//
//   forward          y[t,out]  (=|+=) x[t,in] * W^T
//   input_gradient   dx[t,in]  (=|+=) du[t,out] * W
//   gather_rows      y[t,:]    = W[id[t] - first_row, :], zeros where the id is outside this shard
//   read_rows        W[first : first + count, :] in fp32
//   squared norms    of rows [out] and of columns [in], fp32 with float64 sums
//
// Products are of fp32 x and du, or on CUDA with bfloat16 storage also of bfloat16 ones, with y and dx of that type or
// fp32. fp32 x and du are multiplied in fp32 whatever the storage: the norms need it.
//
// The low-rank products of the norm (math: "the norm, without building B*A") are the same two products with r in
// the place of tokens: A*W^T = forward(A), (c.B)^T*W = input_gradient((c.B)^T).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/backend.h"

namespace shardora {

class WeightMatrix {
 public:
  virtual ~WeightMatrix() = default;
  virtual std::int64_t out_features() const = 0;
  virtual std::int64_t in_features() const = 0;
  virtual std::int64_t bytes() const = 0;  // device memory it holds
  // That memory, each copy of the weight as plain bytes: for checksums.
  virtual std::vector<TensorView> stored() const = 0;

  virtual void forward(TensorView x, TensorView y, bool accumulate) const = 0;
  virtual void input_gradient(TensorView du, TensorView dx, bool accumulate) const = 0;
  virtual void gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const = 0;  // ids int32 [t]
  virtual void read_rows(std::int64_t first, TensorView rows) const = 0;                     // rows fp32 [count,in]
  virtual void row_squared_norms(TensorView out) const = 0;                                  // fp32 [out]
  virtual void column_squared_norms(TensorView out) const = 0;                               // fp32 [in]
};

// A frozen weight in whatever layout and type the backend likes best; nothing else reads its bytes.
struct FrozenMatrixPlan {
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  std::int64_t typical_tokens = 2048;       // rows of x in most products: chooses the layout
  bool for_forward = true;                  // products with W^T
  bool for_backward = true;                 // products with W
  bool for_gather = false;                  // embedding lookups
  DType storage = DType::kF32;              // or kBF16: rounded to nearest, half the memory; products stay fp32
  bool one_copy = false;                    // one layout for both directions, in place of the fastest for each
  BackendKind backend = BackendKind::kCpu;  // whose layouts a dry run counts
};

// Where a frozen weight's values come from: float32, bfloat16 or float16, so many rows at a time as the backend works
// on, in order, each once. A matrix is whole in memory only where it stays, and on the CPU, whose layouts need that.
struct MatrixRows {
  DType dtype = DType::kF32;
  bool on_device = false;  // whether `read` writes memory of the backend; else of the host
  std::function<void(std::int64_t first, TensorView rows)> read;  // rows [first, first + count) of W: [count,in]
};
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan,
                                                 const MatrixRows& rows);
// `weight` is host memory [out,in]; it is copied, and may go when this returns.
std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight);
// What its bytes() will be, without a weight. (A dry run's matrix reports the same.)
std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan);

// A weight that trains: plain layout, fp32, in memory of the caller (the flat parameter and gradient buffers).
class TrainableMatrix final : public WeightMatrix {
 public:
  TrainableMatrix(Backend& backend, TensorView weight, TensorView dweight);  // both [out,in]; dweight may be empty
  std::int64_t out_features() const override { return weight_.size(0); }
  std::int64_t in_features() const override { return weight_.size(1); }
  std::int64_t bytes() const override { return 0; }
  std::vector<TensorView> stored() const override { return {}; }
  void forward(TensorView x, TensorView y, bool accumulate) const override;
  void input_gradient(TensorView du, TensorView dx, bool accumulate) const override;
  void gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const override;
  void read_rows(std::int64_t first, TensorView rows) const override;
  void row_squared_norms(TensorView out) const override;
  void column_squared_norms(TensorView out) const override;

  void weight_gradient(TensorView dy, TensorView x) const;                         // dW += dy^T x
  void scatter_rows(TensorView ids, std::int64_t first_row, TensorView dy) const;  // dW[id - first] += dy[t]

 private:
  Backend& backend_;
  TensorView weight_, dweight_;
};

}  // namespace shardora
