#include "runtime/model/weight_source.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/float_types.h"

namespace shardora {
namespace {

std::vector<std::int64_t> cut_shape(const NamedShape& tensor, int axis, Range range) {
  std::vector<std::int64_t> shape = tensor.shape;
  if (axis >= 0) shape[static_cast<std::size_t>(axis)] = range.size;
  return shape;
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  return elements;
}

}  // namespace

HostTensor FolderWeights::read(const NamedShape& tensor, int axis, Range range) {
  const SafetensorsFile& file = weights_.file_of(tensor.name);
  HostTensor out{.dtype = file.dtype(tensor.name), .shape = cut_shape(tensor, axis, range)};
  out.bytes.resize(static_cast<std::size_t>(product(out.shape) * size_bytes(out.dtype)));
  if (axis < 0) {
    file.read(tensor.name, out.bytes);
  } else if (axis == 0) {
    file.read_rows(tensor.name, range.begin, range.size, out.bytes);
  } else {
    file.read_columns(tensor.name, 0, tensor.shape[0], range.begin, range.size, out.bytes);
  }
  return out;
}

MatrixRows FolderWeights::rows(const NamedShape& tensor, int axis, Range range) {
  SHARDORA_CHECK(tensor.shape.size() == 2 && (axis == 0 || axis == 1));
  const SafetensorsFile& file = weights_.file_of(tensor.name);
  const auto read = [&file, &tensor, axis, range](std::int64_t first, TensorView rows) {
    const std::span<std::byte> out(static_cast<std::byte*>(rows.data), static_cast<std::size_t>(rows.bytes()));
    if (axis == 0) return file.read_rows(tensor.name, range.begin + first, rows.size(0), out);
    file.read_columns(tensor.name, first, rows.size(0), range.begin, range.size, out);
  };
  return {.dtype = file.dtype(tensor.name), .read = read};
}

void StoppableWeights::stop_if_asked() const {
  if (!stop_requested_) return;
  refuse(ExitStatus::kStoppedEarly, "signal: stopped while the weights were read, nothing is lost; start again");
}

HostTensor StoppableWeights::read(const NamedShape& tensor, int axis, Range range) {
  stop_if_asked();
  return source_.read(tensor, axis, range);
}

MatrixRows StoppableWeights::rows(const NamedShape& tensor, int axis, Range range) {
  stop_if_asked();
  return source_.rows(tensor, axis, range);
}

HostTensor RandomWeights::read(const NamedShape& tensor, int axis, Range range) {
  HostTensor out{.dtype = DType::kF32, .shape = cut_shape(tensor, axis, range)};
  out.bytes.resize(static_cast<std::size_t>(product(out.shape)) * sizeof(float));
  if (tensor.shape.size() == 1) {
    const float value = tensor.name.ends_with("norm.weight") || tensor.name.ends_with("layernorm.weight") ? 1.0F : 0.0F;
    for (float& element : out.f32()) element = value;
    return out;
  }
  if (backend_.kind() == BackendKind::kCpu) {  // the host's memory is the device's
    draw(tensor, axis, range, 0, out.view());
    return out;
  }
  const DeviceBuffer device(backend_, std::ssize(out.bytes));
  const TensorView values{device.data(), DType::kF32, out.view().shape};
  draw(tensor, axis, range, 0, values);
  backend_.copy_to_host(out.view(), values);
  backend_.synchronize();
  return out;
}

MatrixRows RandomWeights::rows(const NamedShape& tensor, int axis, Range range) {
  return {.dtype = DType::kF32, .on_device = true, .read = [=, this, &tensor](std::int64_t first, TensorView rows) {
            draw(tensor, axis, range, first, rows);
          }};
}

// `rows`: of the device, from row `first` of the slice.
void RandomWeights::draw(const NamedShape& tensor, int axis, Range range, std::int64_t first, TensorView rows) {
  SHARDORA_CHECK(tensor.shape.size() == 2);
  fill_normal(backend_, {.key = random_key(seed_, "model.init", tensor.name),
                         .out = rows,
                         .first_row = first + (axis == 0 ? range.begin : 0),
                         .first_column = axis == 1 ? range.begin : 0,
                         .logical_columns = tensor.shape[1],
                         .low = 0,
                         .high = static_cast<float>(deviation_)});
}

HostTensor NoWeights::read(const NamedShape& tensor, int axis, Range range) {
  HostTensor out{.dtype = DType::kF32, .shape = cut_shape(tensor, axis, range), .bytes = {}};
  largest_bytes_ = std::max(largest_bytes_, product(out.shape) * size_bytes(DType::kF32));
  return out;
}

MatrixRows NoWeights::rows(const NamedShape& tensor, int axis, Range range) {
  read(tensor, axis, range);
  return {.dtype = DType::kF32, .read = [](std::int64_t, TensorView) {}};
}

std::vector<float> to_float32(HostTensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(product(tensor.shape)));
  if (tensor.dtype == DType::kF32) {
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }
  SHARDORA_CHECK(tensor.dtype == DType::kBF16 || tensor.dtype == DType::kF16);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tensor.bytes.data() + 2 * i, sizeof bits);
    values[i] = tensor.dtype == DType::kBF16 ? float_from_bf16(bits) : float_from_f16(bits);
  }
  return values;
}

void copy_as_float32(Backend& backend, HostTensor& tensor, TensorView device) {
  if (tensor.bytes.empty()) return;  // a dry run's
  if (tensor.dtype == DType::kF32) {
    backend.copy_from_host(device, {tensor.bytes.data(), DType::kF32, device.shape});
    return backend.synchronize();
  }
  const std::vector<float> values = to_float32(tensor);
  backend.copy_from_host(device, view_of(std::span(values), device.shape));
  backend.synchronize();
}

DType stored_dtype(const ModelOptions& options) { return options.dtype == "bfloat16" ? DType::kBF16 : DType::kF32; }

void round_as_stored(const ModelOptions& options, const NamedShape& tensor, std::span<float> values) {
  if (stored_dtype(options) == DType::kF32 || tensor.shape.size() != 2) return;
  for (float& value : values) value = float_from_bf16(bf16_from_float(value));
}

}  // namespace shardora
