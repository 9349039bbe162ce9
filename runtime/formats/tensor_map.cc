// Whole small safetensors files, in memory.
#include <algorithm>
#include <array>
#include <utility>

#include "runtime/formats/json.h"
#include "runtime/formats/safetensors.h"

namespace shardora {

TensorView HostTensor::view() { return {bytes.data(), dtype, Shape(std::span<const std::int64_t>(shape))}; }

std::span<float> HostTensor::f32() {
  SHARDORA_CHECK(dtype == DType::kF32 && bytes.size() % sizeof(float) == 0);
  return {reinterpret_cast<float*>(bytes.data()), bytes.size() / sizeof(float)};
}

TensorMap read_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  TensorMap tensors;
  for (const auto& [name, entry] : file.tensors()) {
    HostTensor tensor{file.dtype(name), entry.shape,
                      std::vector<std::byte>(static_cast<std::size_t>(entry.end - entry.begin))};
    file.read(name, tensor.bytes);
    tensors.emplace(name, std::move(tensor));
  }
  return tensors;
}

void write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorMap::value_type*> ordered;
  ordered.reserve(tensors.size());
  for (const auto& item : tensors) ordered.push_back(&item);
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto* left, const auto* right) {
    return size_bytes(left->second.dtype) > size_bytes(right->second.dtype);
  });
  std::vector<SafetensorsWriter::Declaration> declarations;
  declarations.reserve(ordered.size());
  for (const auto* item : ordered) {
    declarations.push_back({item->first, safetensors_dtype(item->second.dtype), item->second.shape});
  }
  SafetensorsWriter writer(path, declarations, metadata);
  for (const auto* item : ordered) writer.write(item->second.bytes);
  writer.finish();
}

}  // namespace shardora
