// Writes a Hugging Face model folder whose weights come one tensor at a time, so that memory stays at one tensor.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/io/model_folder.h"

namespace shardora {

// File name -> tensors in the order of their bytes.
using WeightLayout = std::vector<std::pair<std::string, std::vector<std::string>>>;

// One file, or shards of at most 5 GB, for tensors that no base layout exists for.
WeightLayout make_layout(const std::vector<NamedShape>& tensors, const std::string& dtype);

struct ModelFolderContent {
  std::filesystem::path base;  // its tokenizer, templates and generation config are copied; config.json too
  WeightLayout layout;
  std::vector<NamedShape> tensors;  // shapes of everything in the layout
  std::string dtype;                // as safetensors says it: "F32", "BF16", "F16"; empty: `dtype_of` each tensor
  std::function<std::string(const std::string&)> dtype_of;
};

// Whole or not there: written beside `folder` under a temporary name and renamed; an old `folder` is replaced.
// `produce` gives the bytes of each tensor in the order of the layout. config.json's dtype is set where `dtype` is
// given.
void write_model_folder(const std::filesystem::path& folder, const ModelFolderContent& content,
                        const std::function<std::vector<std::byte>(const NamedShape&)>& produce);

// fp32 values as bytes of a storage type.
std::vector<std::byte> to_storage(std::span<const float> values, const std::string& dtype);

}  // namespace shardora
