// Writes a Hugging Face model folder whose weights come piece by piece, so that memory stays at one piece.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/formats/model_weights.h"

namespace shardora {

// File name -> tensors in the order of their bytes.
using WeightLayout = std::vector<std::pair<std::string, std::vector<std::string>>>;

// One file, or shards of at most 5 GB, for tensors that no base layout exists for.
WeightLayout make_layout(const std::vector<NamedShape>& tensors, const std::string& dtype);

struct ModelFolderContent {
  std::filesystem::path base;  // its tokenizer, templates, licence and generation config are copied; config.json too
  WeightLayout layout;
  std::vector<NamedShape> tensors;  // shapes of everything in the layout
  std::string dtype;                // in safetensors' names: "F32", "BF16", "F16"; empty: `dtype_of` each tensor
  std::function<std::string(const std::string&)> dtype_of;

  std::string stored_as(const std::string& tensor) const { return dtype.empty() ? dtype_of(tensor) : dtype; }
  std::int64_t bytes_of(std::size_t file) const;  // of the tensors in a file of the layout
};

// Gives the bytes of one tensor, in order and in as many pieces as it likes.
using Sink = std::function<void(std::span<const std::byte>)>;
using ProduceTensor = std::function<void(const NamedShape&, const Sink&)>;

// One file of the layout: whole or, on an error, not there. Ranks may write different files of one folder.
void write_weight_file(const std::filesystem::path& folder, const ModelFolderContent& content, std::size_t file,
                       const ProduceTensor& produce);
// Everything but the weights: their index, where they need one, config.json (its dtype is set where `dtype` is given,
// and a head among the tensors is not a tied one),
// and what a server needs of the base.
void write_companions(const std::filesystem::path& folder, const ModelFolderContent& content);

// All of it. Whole or not there: written beside `folder` under a temporary name and renamed; an old `folder` is
// replaced.
void write_model_folder(const std::filesystem::path& folder, const ModelFolderContent& content,
                        const ProduceTensor& produce);

// fp32 values as bytes of a storage type.
std::vector<std::byte> to_storage(std::span<const float> values, const std::string& dtype);

}  // namespace shardora
