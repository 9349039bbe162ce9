// Writes dataset files for tests, right ones and wrong ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "runtime/data/dataset.h"
#include "runtime/formats/safetensors.h"

namespace shardora {

struct DatasetFile {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> offsets;
  std::optional<std::vector<std::uint8_t>> loss_mask;
  std::map<std::string, std::string> metadata = {{"format", "shardora.dataset.v1"}};
  TensorMap others;  // added, or put in the place of those above
};

template <class T>
HostTensor tensor_of(const std::vector<T>& values) {
  HostTensor tensor{dtype_of<T>(), {static_cast<std::int64_t>(values.size())}, {}};
  tensor.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

inline void write_dataset(const std::filesystem::path& path, const DatasetFile& file) {
  TensorMap tensors = file.others;
  tensors.emplace("tokens", tensor_of(file.tokens));
  tensors.emplace("offsets", tensor_of(file.offsets));
  if (file.loss_mask) tensors.emplace("loss_mask", tensor_of(*file.loss_mask));
  std::filesystem::remove(path);
  write_safetensors(path, tensors, file.metadata);
}

// Sequences of these lengths; token t of sequence k is 100 k + t.
inline Dataset dataset_of(const std::filesystem::path& path, const std::vector<std::int64_t>& lengths) {
  DatasetFile file;
  file.offsets.push_back(0);
  for (std::size_t k = 0; k < lengths.size(); ++k) {
    for (std::int64_t t = 0; t < lengths[k]; ++t) {
      file.tokens.push_back(static_cast<std::int32_t>(100 * static_cast<std::int64_t>(k) + t));
    }
    file.offsets.push_back(file.offsets.back() + lengths[k]);
  }
  write_dataset(path, file);
  return Dataset(path, 1'000'000, 1000, Overlong::kError);
}

}  // namespace shardora
