// The *.safetensors files of a model folder: used by model_weights.cc only.
#pragma once

#include <filesystem>
#include <vector>

#include "runtime/formats/safetensors.h"

namespace shardora {

// model.safetensors, or the files that model.safetensors.index.json names, each opened, with every tensor in exactly
// the file that the index names. Error(kBadInput) naming folder, file or tensor.
std::vector<SafetensorsFile> open_weight_files(const std::filesystem::path& folder);

}  // namespace shardora
