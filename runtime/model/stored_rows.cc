#include "runtime/model/stored_rows.h"

#include <algorithm>

#include "kernels/elementwise.h"

namespace shardora {
namespace {

constexpr std::int64_t kBlockElements = 1 << 22;

}  // namespace

StoredRows::StoredRows(Backend& backend, const SafetensorsFile& file, const NamedShape& tensor)
    : backend_(backend),
      file_(file),
      name_(tensor.name),
      dtype_(file.dtype(tensor.name)),
      rows_(tensor.shape[0]),
      columns_(tensor.shape.size() == 2 ? tensor.shape[1] : 1),
      block_rows_(std::max<std::int64_t>(kBlockElements / std::max<std::int64_t>(columns_, 1), 1)) {
  SHARDORA_CHECK(tensor.shape.size() == 1 || tensor.shape.size() == 2);
  SHARDORA_CHECK(dtype_ == DType::kF32 || dtype_ == DType::kBF16 || dtype_ == DType::kF16);
}

TensorView StoredRows::read(std::int64_t first) {
  read_bytes(first);
  const Shape shape = {std::min(block_rows_, rows_ - first), columns_};
  if (dtype_ == DType::kF32) return {bytes_.data(), DType::kF32, shape};
  values_.resize(static_cast<std::size_t>(shape.elements()));
  const TensorView values = view_of(std::span(values_), shape);
  convert(backend_, {.from = {bytes_.data(), dtype_, shape}, .to = values});
  return values;
}

std::span<const std::byte> StoredRows::read_bytes(std::int64_t first) {
  const std::int64_t count = std::min(block_rows_, rows_ - first);
  SHARDORA_CHECK(first >= 0 && count > 0);
  bytes_.resize(static_cast<std::size_t>(count * columns_ * size_bytes(dtype_)));
  file_.read_rows(name_, first, count, bytes_);
  return bytes_;
}

}  // namespace shardora
