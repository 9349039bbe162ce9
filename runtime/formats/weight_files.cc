// Finding a model's weights: one file, or an index and its files.
#include "runtime/formats/weight_files.h"

#include <nlohmann/json.hpp>
#include <set>

#include "runtime/formats/json.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr JsonLimits kIndexLimits = {.bytes = 100'000'000, .depth = 8, .values = 2'000'000};

// An index must not name files outside of its folder.
void require_plain_name(const std::string& file, const std::string& index) {
  const bool plain = file.find('/') == std::string::npos && file.find('\0') == std::string::npos &&
                     file.ends_with(".safetensors") && file != ".safetensors";
  if (plain) return;
  refuse(ExitStatus::kBadInput, "{}: weight_map names the file '{}', expected a plain name that ends in .safetensors",
         index, printable(file));
}

std::map<std::string, std::string> read_weight_map(const fs::path& path) {
  const std::string index = printable(path.string());
  const ordered_json document = read_json(path, kIndexLimits);
  const ordered_json* weight_map = JsonFields(document, index).find("weight_map");
  if (weight_map == nullptr || !weight_map->is_object() || weight_map->empty()) {
    refuse(ExitStatus::kBadInput, "{}: has no weight_map from tensors to files", index);
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string()) {
      refuse(ExitStatus::kBadInput, "{}: weight_map of '{}' is not a file name", index, printable(tensor));
    }
    files[tensor] = file.get<std::string>();
    require_plain_name(files[tensor], index);
  }
  return files;
}

std::vector<SafetensorsFile> open_indexed(const fs::path& folder) {
  const std::string index = printable((folder / kIndex).string());
  const std::map<std::string, std::string> weight_map = read_weight_map(folder / kIndex);
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  std::vector<SafetensorsFile> files;
  std::size_t found = 0;
  for (const std::string& name : names) {
    files.emplace_back(folder / name);
    for (const auto& [tensor, entry] : files.back().tensors()) {
      const auto expected = weight_map.find(tensor);
      if (expected == weight_map.end() || expected->second != name) {
        refuse(ExitStatus::kBadInput, "{}: tensor '{}' is in {}, but the index says {}", index, printable(tensor),
               printable(name), expected == weight_map.end() ? "nothing of it" : printable(expected->second));
      }
      ++found;
    }
  }
  if (found == weight_map.size()) return files;
  for (const auto& [tensor, name] : weight_map) {
    const auto file = std::distance(names.begin(), names.find(name));
    if (files[static_cast<std::size_t>(file)].has(tensor)) continue;
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' is not in {}, where the index says it is; copy the model again",
           index, printable(tensor), printable(name));
  }
  return files;
}

}  // namespace

std::vector<SafetensorsFile> open_weight_files(const fs::path& folder) {
  std::error_code ignored;  // what cannot be looked at is reported as missing, or by opening it
  const bool single = fs::exists(folder / kSingle, ignored), indexed = fs::exists(folder / kIndex, ignored);
  if (single && indexed) {
    refuse(ExitStatus::kBadInput, "{}: has both {} and {}; remove the one that is not meant",
           printable(folder.string()), kSingle, kIndex);
  }
  if (indexed) return open_indexed(folder);
  if (!single) {
    refuse(ExitStatus::kBadInput,
           "{}: has neither {} nor {}; weights in other formats (pickle) are not read, save the model as safetensors",
           printable(folder.string()), kSingle, kIndex);
  }
  std::vector<SafetensorsFile> files;
  files.emplace_back(folder / kSingle);
  return files;
}

}  // namespace shardora
