// A frozen weight on the CPU in half the memory: one row-major copy of bfloat16 for both directions, whose panels
// become fp32 in the caches as a product comes to them.
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/frozen_rows.h"
#include "kernels/float_types.h"

namespace shardora::cpu {
namespace {

class Bf16Matrix final : public FrozenRows {
 public:
  Bf16Matrix(Backend& backend, const FrozenMatrixPlan& plan, const TensorView& weight)
      : FrozenRows(plan.out_features, plan.in_features),
        loops_(loops_of(backend)),
        memory_(backend, out_ * in_ * size_bytes(DType::kBF16)),
        bits_(static_cast<std::uint16_t*>(memory_.data())) {
    const std::int64_t elements = out_ * in_;
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < elements; ++i) bits_[i] = bf16_from_float(element_as_float(weight, i));
  }

  std::int64_t bytes() const override { return memory_.bytes(); }
  std::vector<TensorView> stored() const override { return {{memory_.data(), DType::kU8, {memory_.bytes()}}}; }

  void forward(TensorView x, TensorView y, bool accumulate) const override {
    multiply({.w = bits_, .k_stride = 1, .n_stride = in_, .n = out_, .k = in_, .accumulate = accumulate}, x, y);
  }
  void input_gradient(TensorView du, TensorView dx, bool accumulate) const override {
    multiply({.w = bits_, .k_stride = in_, .n_stride = 1, .n = in_, .k = out_, .accumulate = accumulate}, du, dx);
  }

 private:
  void multiply(Bf16Gemm op, TensorView x, TensorView y) const {
    op.x = x.as<float>(), op.y = y.as<float>(), op.m = x.size(0);
    SHARDORA_CHECK(x.shape == (Shape{op.m, op.k}) && y.shape == (Shape{op.m, op.n}));
    if (op.m == 0 || op.n == 0) return;
    if (op.k > 0) return loops_.bf16_gemm(op);
    if (!op.accumulate) std::fill_n(op.y, op.m * op.n, 0.0F);
  }
  void copy_row(std::int64_t o, float* to) const override {
    const std::uint16_t* const row = bits_ + o * in_;
    for (std::int64_t i = 0; i < in_; ++i) to[i] = float_from_bf16(row[i]);
  }

  Loops& loops_;  // not owned
  DeviceBuffer memory_;
  std::uint16_t* bits_;  // memory_, [out,in]
};

}  // namespace

std::unique_ptr<WeightMatrix> make_bf16_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight) {
  return std::make_unique<Bf16Matrix>(backend, plan, weight);
}

}  // namespace shardora::cpu
