// A frozen weight on the device: one row-major copy, fp32 or bfloat16, that products of both directions read.
//
// fp32 x on a bfloat16 copy is multiplied without rounding x: it is the sum of three bfloat16 numbers,
//
//   x = hi + mid + lo      hi = round(x),  mid = round(x - hi),  lo = x - hi - mid
//
// each of 8 significant bits, 24 together, as many as x has; both differences are exact. A product of two bfloat16
// numbers is exact in fp32, so three products that add up in fp32 lose what the sums lose, about 2^-24 of |x| |W| each,
// as fp32 products do: the smallest part first, so that only the last sum rounds at the result's size. (Without lo
// 2^-17 of x would be missing.) Where |x| is beyond the largest bfloat16, 3.39e38, the result is not finite; what is
// below 2^-133, the smallest, is lost.
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/elements.h"

namespace shardora::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kParts = 3;
constexpr std::int64_t kPartsBytes = std::int64_t{4} << 20;  // at a time: read again while the cache still holds them
constexpr std::int64_t kPieceBytes = std::int64_t{8} << 20;  // of a weight given in another type: large enough to stage

// parts: lo, mid and hi, each `stride` elements after the one before.
__global__ void split_kernel(const float* x, std::int64_t count, BF16* parts, std::int64_t stride) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const BF16 hi = from_float<BF16>(x[i]);
  const float rest = x[i] - to_float(hi);
  const BF16 mid = from_float<BF16>(rest);
  parts[i] = from_float<BF16>(rest - to_float(mid));
  parts[i + stride] = mid;
  parts[i + 2 * stride] = hi;
}

std::int64_t to_full_packs(std::int64_t count) {
  constexpr std::int64_t kVectorWidth = AlignedVector<BF16>::kCount;
  return (count + kVectorWidth - 1) / kVectorWidth * kVectorWidth;
}

class FrozenMatrix final : public WeightMatrix {
 public:
  FrozenMatrix(Backend& backend, const FrozenMatrixPlan& plan, const MatrixRows& rows);
  std::int64_t out_features() const override { return weight_.size(0); }
  std::int64_t in_features() const override { return weight_.size(1); }
  std::int64_t bytes() const override { return weight_.bytes(); }
  std::vector<TensorView> stored() const override { return {{memory_.data(), DType::kU8, {memory_.bytes()}}}; }

  void forward(TensorView x, TensorView y, bool accumulate) const override {
    SHARDORA_CHECK(for_forward_);
    multiply({.a = x, .b = weight_, .c = y, .transpose_b = true, .accumulate = accumulate});
  }
  void input_gradient(TensorView du, TensorView dx, bool accumulate) const override {
    SHARDORA_CHECK(for_backward_);
    multiply({.a = du, .b = weight_, .c = dx, .accumulate = accumulate});
  }
  void gather_rows(TensorView ids, std::int64_t first_row, TensorView y) const override {
    cuda::embedding_gather(backend_, {.table = weight_, .ids = ids, .first_row = first_row, .y = y});
  }
  void read_rows(std::int64_t first, TensorView rows) const override {
    SHARDORA_CHECK(rows.dtype == DType::kF32);
    cuda::convert(backend_, {.from = weight_.rows(first, rows.size(0)), .to = rows});
  }
  void row_squared_norms(TensorView out) const override {
    cuda::row_squared_norms(backend_, {.x = weight_, .out = out});
  }
  void column_squared_norms(TensorView out) const override {
    cuda::column_squared_norms(backend_, {.x = weight_, .out = out});
  }

 private:
  void read_from(const MatrixRows& rows, std::int64_t begin, TensorView to);
  void read_converted(const MatrixRows& rows);
  void multiply(const MatMul& op) const;
  void multiply_parts(const MatMul& op) const;

  Backend& backend_;  // not owned
  bool for_forward_, for_backward_;
  DeviceBuffer memory_;
  TensorView weight_;  // memory_, [out,in]
};

FrozenMatrix::FrozenMatrix(Backend& backend, const FrozenMatrixPlan& plan, const MatrixRows& rows)
    : backend_(backend),
      for_forward_(plan.for_forward),
      for_backward_(plan.for_backward),
      memory_(backend, plan.out_features * plan.in_features * size_bytes(plan.storage)),
      weight_{memory_.data(), plan.storage, {plan.out_features, plan.in_features}} {
  if (rows.dtype == plan.storage) {
    read_from(rows, 0, weight_);
  } else {
    read_converted(rows);
  }
}

// Through the workspace, piece by piece: the device converts, and never holds the weight twice.
void FrozenMatrix::read_converted(const MatrixRows& rows) {
  const std::int64_t out = weight_.size(0), in = weight_.size(1), row_bytes = in * size_bytes(rows.dtype);
  const std::int64_t each = std::max<std::int64_t>(1, kPieceBytes / std::max<std::int64_t>(1, row_bytes));
  for (std::int64_t first = 0; first < out; first += each) {
    const std::int64_t count = std::min(each, out - first);
    const TensorView piece{cuda_backend(backend_).workspace<std::byte>(count * row_bytes), rows.dtype, {count, in}};
    read_from(rows, first, piece);
    cuda::convert(backend_, {.from = piece, .to = weight_.rows(first, count)});
  }
}

// to = the rows from `begin` on, in the type that they are given in.
void FrozenMatrix::read_from(const MatrixRows& rows, std::int64_t begin, TensorView to) {
  if (to.elements() == 0) return;
  if (rows.on_device) return rows.read(begin, to);
  cuda_backend(backend_).copy_rows_from_host(
      to, [&](std::int64_t first, TensorView piece) { rows.read(begin + first, piece); });
}

void FrozenMatrix::multiply(const MatMul& op) const {
  if (op.a.dtype == weight_.dtype) return cuda::matmul(backend_, op);
  SHARDORA_CHECK(weight_.dtype == DType::kBF16 && op.c.dtype == DType::kF32);
  const std::int64_t rows = op.a.size(0), width = op.a.size(1);
  const std::int64_t row_bytes = kParts * width * size_bytes(DType::kBF16);
  const std::int64_t rows_each = std::max<std::int64_t>(1, kPartsBytes / std::max<std::int64_t>(1, row_bytes));
  for (std::int64_t first = 0; first < rows; first += rows_each) {
    const std::int64_t count = std::min(rows_each, rows - first);
    MatMul some = op;
    some.a = op.a.rows(first, count), some.c = op.c.rows(first, count);
    multiply_parts(some);
  }
}

void FrozenMatrix::multiply_parts(const MatMul& op) const {
  const std::int64_t count = op.a.elements(), stride = to_full_packs(count);
  auto* const parts = cuda_backend(backend_).workspace<BF16>(kParts * stride);
  launch(split_kernel, static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0, stream_of(backend_),
         op.a.as<float>(), count, parts, stride);
  MatMul product = op;
  for (std::int64_t part = 0; part < kParts; ++part) {
    product.a = {parts + part * stride, DType::kBF16, op.a.shape};
    product.accumulate = op.accumulate || part > 0;
    cuda::matmul(backend_, product);
  }
}

}  // namespace

std::unique_ptr<WeightMatrix> make_frozen_matrix(Backend& backend, const FrozenMatrixPlan& plan,
                                                 const MatrixRows& rows) {
  SHARDORA_CHECK(rows.dtype == DType::kF32 || rows.dtype == DType::kBF16 || rows.dtype == DType::kF16);
  SHARDORA_CHECK(plan.storage == DType::kF32 || plan.storage == DType::kBF16);
  return std::make_unique<FrozenMatrix>(backend, plan, rows);
}

}  // namespace shardora::cuda
