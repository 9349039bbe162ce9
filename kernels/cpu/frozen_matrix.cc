// A frozen weight on the CPU: fp32, once per layout that the products need. Rows are read from whichever copy is there,
// so no plain copy is kept beside the blocked ones.
#include <algorithm>
#include <deque>
#include <optional>
#include <vector>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/cpu.h"
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

class FrozenMatrix final : public WeightMatrix {
 public:
  FrozenMatrix(Backend& backend, const FrozenMatrixPlan& plan, const TensorView& weight)
      : out_(plan.out_features), in_(plan.in_features) {
    if (out_ == 0 || in_ == 0) {  // nothing to multiply or to lay out
      const auto nowhere = [](std::int64_t count) {
        return std::vector<std::int64_t>(static_cast<std::size_t>(count));
      };
      copies_.push_back({{nowhere(out_), nowhere(in_)}, DeviceBuffer(backend, 0)});
      return;
    }
    const WeightLayout row_major = WeightLayout::strided(out_, in_, in_, 1);
    if (plan.for_forward) {
      WeightLayout layout = WeightLayout::preferred(plan.typical_tokens, in_, out_);
      // Without blocks of oneDNN's own, the row-major copy serves both directions.
      if (!layout.blocked()) layout = WeightLayout::strided(in_, out_, 1, in_);
      Copy& copy = find_or_pack(backend, transposed(layout.offsets()), layout.bytes(), weight);
      forward_.emplace(products_of(backend), layout, in_, out_, copy.data());
    }
    if (plan.for_backward) {
      WeightLayout layout = WeightLayout::preferred(plan.typical_tokens, out_, in_);
      if (!layout.blocked()) layout = row_major;
      Copy& copy = find_or_pack(backend, layout.offsets(), layout.bytes(), weight);
      backward_.emplace(products_of(backend), layout, out_, in_, copy.data());
    }
    if (copies_.empty()) find_or_pack(backend, row_major.offsets(), row_major.bytes(), weight);
  }

  std::int64_t out_features() const override { return out_; }
  std::int64_t in_features() const override { return in_; }
  std::int64_t bytes() const override {
    std::int64_t total = 0;
    for (const Copy& copy : copies_) total += copy.memory.bytes();
    return total;
  }

  void forward(TensorView x, TensorView y, bool accumulate) const override {
    multiply(forward_, x, in_, y, out_, accumulate);
  }
  void input_gradient(TensorView du, TensorView dx, bool accumulate) const override {
    multiply(backward_, du, out_, dx, in_, accumulate);
  }
  void gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const override;
  void read_rows(std::int64_t first, TensorView rows) const override;
  void row_squared_norms(TensorView out) const override;
  void column_squared_norms(TensorView out) const override;

 private:
  Copy& find_or_pack(Backend& backend, ElementOffsets at, std::int64_t bytes, const TensorView& weight) {
    for (Copy& copy : copies_) {
      if (copy.at == at) return copy;
    }
    return copies_.emplace_back(pack(backend, std::move(at), bytes, weight));
  }
  static void multiply(const std::optional<WeightProduct>& product, TensorView x, std::int64_t k, TensorView y,
                       std::int64_t n, bool accumulate);
  void copy_row(std::int64_t o, float* to) const {
    const Copy& copy = copies_.front();
    const float* const row = copy.data() + copy.at.rows[static_cast<std::size_t>(o)];
    const std::int64_t* const column_at = copy.at.columns.data();
    for (std::int64_t i = 0; i < in_; ++i) to[i] = row[column_at[i]];
  }

  std::int64_t out_, in_;
  std::deque<Copy> copies_;  // addresses stay; one or two
  std::optional<WeightProduct> forward_, backward_;
};

void FrozenMatrix::multiply(const std::optional<WeightProduct>& product, TensorView x, std::int64_t k, TensorView y,
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

void FrozenMatrix::gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const {
  const std::int64_t tokens = ids.size(0);
  SHARDORA_CHECK(y.shape == (Shape{tokens, in_}));
  const std::int32_t* const id = ids.as<std::int32_t>();
  float* const to = y.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int64_t row = id[t] - first_row;
    if (row >= 0 && row < out_) {
      copy_row(row, to + t * in_);
    } else {
      std::fill_n(to + t * in_, in_, 0.0F);
    }
  }
}

void FrozenMatrix::read_rows(std::int64_t first, TensorView rows) const {
  const std::int64_t count = rows.size(0);
  SHARDORA_CHECK(first >= 0 && first + count <= out_ && rows.shape == (Shape{count, in_}));
  float* const to = rows.as<float>();
#pragma omp parallel for schedule(static)
  for (std::int64_t o = 0; o < count; ++o) copy_row(first + o, to + o * in_);
}

// The norms go through plain rows a few at a time: made once at load, so what counts is that all layouts give one sum.
constexpr std::int64_t kNormRows = 64;

void FrozenMatrix::row_squared_norms(TensorView out) const {
  SHARDORA_CHECK(out.shape == Shape{out_});
  std::vector<float> buffer(static_cast<std::size_t>(kNormRows * in_));
  for (std::int64_t first = 0; first < out_; first += kNormRows) {
    const std::int64_t count = std::min(kNormRows, out_ - first);
    const TensorView rows{buffer.data(), DType::kF32, {count, in_}};
    read_rows(first, rows);
    cpu::row_squared_norms({.x = rows, .out = out.rows(first, count)});
  }
}

void FrozenMatrix::column_squared_norms(TensorView out) const {
  SHARDORA_CHECK(out.shape == Shape{in_});
  std::vector<double> sums(static_cast<std::size_t>(in_));
  std::vector<float> row(static_cast<std::size_t>(in_));
  for (std::int64_t o = 0; o < out_; ++o) {
    copy_row(o, row.data());
    for (std::size_t i = 0; i < row.size(); ++i) sums[i] += static_cast<double>(row[i]) * row[i];
  }
  float* const to = out.as<float>();
  for (std::size_t i = 0; i < sums.size(); ++i) to[i] = static_cast<float>(sums[i]);
}

}  // namespace

std::int64_t frozen_matrix_bytes(const FrozenMatrixPlan& plan) {
  const std::int64_t out = plan.out_features, in = plan.in_features;
  if (out == 0 || in == 0) return 0;
  const WeightLayout row_major = WeightLayout::strided(out, in, in, 1);
  if (!plan.for_forward && !plan.for_backward) return row_major.bytes();
  std::int64_t total = 0;
  ElementOffsets forward;
  if (plan.for_forward) {
    const WeightLayout layout = WeightLayout::preferred(plan.typical_tokens, in, out);
    forward = layout.blocked() ? transposed(layout.offsets()) : row_major.offsets();
    total += layout.bytes();
  }
  if (plan.for_backward) {
    const WeightLayout layout = WeightLayout::preferred(plan.typical_tokens, out, in);
    const ElementOffsets backward = layout.blocked() ? layout.offsets() : row_major.offsets();
    if (!(backward == forward)) total += layout.bytes();
  }
  return total;
}

std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan, TensorView weight) {
  SHARDORA_CHECK(weight.shape == (Shape{plan.out_features, plan.in_features}));
  SHARDORA_CHECK(weight.dtype == DType::kF32 || weight.dtype == DType::kBF16 || weight.dtype == DType::kF16);
  return std::make_unique<FrozenMatrix>(backend, plan, weight);
}

}  // namespace shardora::cpu
