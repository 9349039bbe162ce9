// A frozen weight on the CPU: fp32, once per layout that the products need. Rows are read from whichever copy is there,
// so no plain copy is kept beside the blocked ones.
#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/frozen_rows.h"
#include "kernels/cpu/onednn.h"

namespace shardora::cpu {
namespace {

// W [out,in] in memory: `at` gives the place of each element, whatever the layout.
struct Copy {
  ElementOffsets at;
  DeviceBuffer memory;
  float* data() const { return static_cast<float*>(memory.data()); }
};

ElementOffsets transposed(ElementOffsets offsets) { return {std::move(offsets.columns), std::move(offsets.rows)}; }

Copy pack(Backend& backend, ElementOffsets at, std::int64_t bytes, const TensorView& weight) {
  Copy copy{std::move(at), DeviceBuffer(backend, bytes)};
  float* const to = copy.data();
  std::fill_n(to, bytes / size_bytes(DType::kF32), 0.0F);  // what pads the blocks is multiplied too
  const auto rows = static_cast<std::int64_t>(copy.at.rows.size());
  const auto columns = static_cast<std::int64_t>(copy.at.columns.size());
  const std::int64_t* const row_at = copy.at.rows.data();
  const std::int64_t* const column_at = copy.at.columns.data();
#pragma omp parallel for schedule(static)
  for (std::int64_t o = 0; o < rows; ++o) {
    float* const row = to + row_at[o];
    for (std::int64_t i = 0; i < columns; ++i) row[column_at[i]] = element_as_float(weight, o * columns + i);
  }
  return copy;
}

struct Layouts {
  std::optional<WeightLayout> forward, backward;  // of W^T [in,out] and of W [out,in]
};

// Without blocks of oneDNN's own, and where there may be one copy only, a row-major one serves both directions.
Layouts choose_layouts(const FrozenMatrixPlan& plan) {
  const std::int64_t out = plan.out_features, in = plan.in_features;
  const auto preferred = [&](std::int64_t k, std::int64_t n, const WeightLayout& row_major) {
    if (plan.one_copy && plan.for_forward && plan.for_backward) return row_major;
    const WeightLayout layout = WeightLayout::preferred(plan.typical_tokens, k, n);
    return layout.blocked() ? layout : row_major;
  };
  Layouts layouts;
  if (plan.for_forward) layouts.forward = preferred(in, out, WeightLayout::strided(in, out, 1, in));
  if (plan.for_backward) layouts.backward = preferred(out, in, WeightLayout::strided(out, in, in, 1));
  return layouts;
}

class FrozenMatrix final : public FrozenRows {
 public:
  FrozenMatrix(Backend& backend, const FrozenMatrixPlan& plan, const TensorView& weight)
      : FrozenRows(plan.out_features, plan.in_features) {
    if (out_ == 0 || in_ == 0) {  // nothing to multiply or to lay out
      const auto nowhere = [](std::int64_t count) {
        return std::vector<std::int64_t>(static_cast<std::size_t>(count));
      };
      copies_.push_back({{nowhere(out_), nowhere(in_)}, DeviceBuffer(backend, 0)});
      return;
    }
    const Layouts layouts = choose_layouts(plan);
    if (layouts.forward) {
      Copy& copy = find_or_pack(backend, transposed(layouts.forward->offsets()), layouts.forward->bytes(), weight);
      forward_.emplace(gemm_cache_of(backend), *layouts.forward, in_, out_, copy.data());
    }
    if (layouts.backward) {
      Copy& copy = find_or_pack(backend, layouts.backward->offsets(), layouts.backward->bytes(), weight);
      backward_.emplace(gemm_cache_of(backend), *layouts.backward, out_, in_, copy.data());
    }
    const WeightLayout row_major = WeightLayout::strided(out_, in_, in_, 1);
    if (copies_.empty()) find_or_pack(backend, row_major.offsets(), row_major.bytes(), weight);
  }

  std::int64_t bytes() const override {
    std::int64_t total = 0;
    for (const Copy& copy : copies_) total += copy.memory.bytes();
    return total;
  }

  std::vector<TensorView> stored() const override {
    std::vector<TensorView> views;
    views.reserve(copies_.size());
    for (const Copy& copy : copies_) views.push_back({copy.memory.data(), DType::kU8, {copy.memory.bytes()}});
    return views;
  }

  void forward(TensorView x, TensorView y, bool accumulate) const override {
    multiply(forward_, x, in_, y, out_, accumulate);
  }
  void input_gradient(TensorView du, TensorView dx, bool accumulate) const override {
    multiply(backward_, du, out_, dx, in_, accumulate);
  }

 private:
  Copy& find_or_pack(Backend& backend, ElementOffsets at, std::int64_t bytes, const TensorView& weight) {
    for (Copy& copy : copies_) {
      if (copy.at == at) return copy;
    }
    return copies_.emplace_back(pack(backend, std::move(at), bytes, weight));
  }
  static void multiply(const std::optional<WeightGemm>& product, TensorView x, std::int64_t k, TensorView y,
                       std::int64_t n, bool accumulate);
  void copy_row(std::int64_t o, float* to) const override {
    const Copy& copy = copies_.front();
    const float* const row = copy.data() + copy.at.rows[static_cast<std::size_t>(o)];
    const std::int64_t* const column_at = copy.at.columns.data();
    for (std::int64_t i = 0; i < in_; ++i) to[i] = row[column_at[i]];
  }

  std::deque<Copy> copies_;  // addresses stay; one or two
  std::optional<WeightGemm> forward_, backward_;
};

void FrozenMatrix::multiply(const std::optional<WeightGemm>& product, TensorView x, std::int64_t k, TensorView y,
                            std::int64_t n, bool accumulate) {
  const std::int64_t tokens = x.size(0);
  SHARDORA_CHECK(x.shape == (Shape{tokens, k}) && y.shape == (Shape{tokens, n}));
  if (tokens == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) std::fill_n(y.as<float>(), tokens * n, 0.0F);
    return;
  }
  SHARDORA_CHECK(product.has_value());  // the plan left this direction out
  product->run(tokens, x.as<float>(), y.as<float>(), accumulate);
}

}  // namespace

std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan) {
  const std::int64_t out = plan.out_features, in = plan.in_features;
  if (out == 0 || in == 0) return 0;
  if (plan.storage == DType::kBF16) return out * in * size_bytes(DType::kBF16);
  const Layouts layouts = choose_layouts(plan);
  if (!layouts.forward && !layouts.backward) return out * in * size_bytes(DType::kF32);
  if (!layouts.forward) return layouts.backward->bytes();
  if (!layouts.backward) return layouts.forward->bytes();
  const bool shared = transposed(layouts.forward->offsets()) == layouts.backward->offsets();
  return shared ? layouts.forward->bytes() : layouts.forward->bytes() + layouts.backward->bytes();
}

std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight) {
  SHARDORA_CHECK(weight.shape == (Shape{plan.out_features, plan.in_features}));
  SHARDORA_CHECK(weight.dtype == DType::kF32 || weight.dtype == DType::kBF16 || weight.dtype == DType::kF16);
  SHARDORA_CHECK(plan.storage == DType::kF32 || plan.storage == DType::kBF16);
  if (plan.storage == DType::kBF16) return make_bf16_matrix(backend, plan, weight);
  return std::make_unique<FrozenMatrix>(backend, plan, weight);
}

}  // namespace shardora::cpu
