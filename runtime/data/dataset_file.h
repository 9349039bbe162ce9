// What the kinds of dataset files have in common: one-dimensional tensors of a given type, and errors that name the
// file.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "runtime/formats/safetensors.h"
#include "runtime/system/printable.h"

namespace shardora {

template <class... Arguments>
[[noreturn]] void refuse_dataset(const std::string& name, fmt::format_string<Arguments...> format,
                                 Arguments&&... arguments) {
  refuse(ExitStatus::kBadInput, "dataset {}: {}", name, fmt::format(format, std::forward<Arguments>(arguments)...));
}

// A tensor of one dimension, whole. `dtype` as safetensors spells it. Throws Error(kBadInput).
template <class T>
std::vector<T> read_values(const SafetensorsFile& file, const std::string& tensor, const char* dtype,
                           const std::string& name) {
  if (!file.has(tensor)) refuse_dataset(name, "has no tensor {}", tensor);
  const TensorEntry& entry = file.entry(tensor);
  if (entry.dtype != dtype) {
    refuse_dataset(name, "tensor {} is {}, expected {}", tensor, printable(entry.dtype), dtype);
  }
  if (entry.shape.size() != 1) {
    refuse_dataset(name, "tensor {} has {} dimensions, expected one", tensor, entry.shape.size());
  }
  std::vector<T> values(static_cast<std::size_t>(entry.shape[0]));
  file.read(tensor, std::as_writable_bytes(std::span(values)));
  return values;
}

}  // namespace shardora
