#include "runtime/formats/model_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/float_types.h"
#include "runtime/formats/json.h"
#include "runtime/system/files.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kShardBytes = 5'000'000'000;

std::int64_t storage_bytes(const NamedShape& tensor, const std::string& dtype) {
  std::int64_t bytes = dtype == "F32" ? 4 : 2;
  for (const std::int64_t size : tensor.shape) bytes *= size;
  return bytes;
}

constexpr const char* kTemplates = "additional_chat_templates";  // a folder, where a model has several

// What a server needs beside the weights, and the terms that come with them. Weights of other formats and old indices
// stay behind.
bool accompanies(const fs::path& file) {
  const std::string name = file.filename().string(), extension = file.extension().string();
  if (name == "config.json" || name.ends_with(".index.json") || name.starts_with("adapter_")) return false;
  for (const char* const terms : {"LICENSE", "NOTICE", "USE_POLICY"}) {
    if (name.starts_with(terms)) return true;
  }
  return extension == ".json" || extension == ".jinja" || extension == ".model" || name == "merges.txt" ||
         name == "vocab.txt";
}

void copy_companions(const fs::path& base, const fs::path& to) {
  for (const fs::directory_entry& entry : fs::directory_iterator(base)) {
    if (entry.is_regular_file() && accompanies(entry.path())) {
      copy_file_synced(entry.path(), to / entry.path().filename());
    }
  }
  if (!fs::is_directory(base / kTemplates)) return;
  make_folder_in(to / kTemplates);
  copy_companions(base / kTemplates, to / kTemplates);
}

void write_config(const fs::path& to, const ModelFolderContent& content) {
  nlohmann::ordered_json config = read_json(content.base / "config.json");
  const bool has_head = std::any_of(content.tensors.begin(), content.tensors.end(),
                                    [](const NamedShape& tensor) { return tensor.name == "lm_head.weight"; });
  if (has_head && config.contains("tie_word_embeddings")) config["tie_word_embeddings"] = false;
  const std::string& dtype = content.dtype;
  if (!dtype.empty()) {
    const std::map<std::string, std::string> words = {{"F32", "float32"}, {"BF16", "bfloat16"}, {"F16", "float16"}};
    config[config.contains("dtype") ? "dtype" : "torch_dtype"] = words.at(dtype);
  }
  write_new_file(to / "config.json", config.dump(2) + "\n");
}

void write_index(const fs::path& to, const ModelFolderContent& content) {
  const WeightLayout& layout = content.layout;
  std::int64_t total_bytes = 0;
  for (std::size_t file = 0; file < layout.size(); ++file) total_bytes += content.bytes_of(file);
  nlohmann::ordered_json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", {}}};
  std::map<std::string, std::string> sorted;
  for (const auto& [file, names] : layout) {
    for (const std::string& name : names) sorted[name] = file;
  }
  for (const auto& [name, file] : sorted) index["weight_map"][name] = file;
  write_new_file(to / "model.safetensors.index.json", index.dump(2) + "\n");
}

std::map<std::string, const NamedShape*> by_name(const std::vector<NamedShape>& tensors) {
  std::map<std::string, const NamedShape*> shapes;
  for (const NamedShape& tensor : tensors) shapes[tensor.name] = &tensor;
  return shapes;
}

}  // namespace

WeightLayout make_layout(const std::vector<NamedShape>& tensors, const std::string& dtype) {
  std::vector<std::vector<std::string>> shards(1);
  std::int64_t filled = 0;
  for (const NamedShape& tensor : tensors) {
    const std::int64_t bytes = storage_bytes(tensor, dtype);
    if (filled > 0 && filled + bytes > kShardBytes) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(tensor.name);
    filled += bytes;
  }
  if (shards.size() == 1) return {{"model.safetensors", shards[0]}};
  WeightLayout layout;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    layout.emplace_back(fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size()), shards[i]);
  }
  return layout;
}

std::int64_t ModelFolderContent::bytes_of(std::size_t file) const {
  std::map<std::string, const NamedShape*> shapes = by_name(tensors);
  std::int64_t bytes = 0;
  for (const std::string& name : layout[file].second) bytes += storage_bytes(*shapes.at(name), stored_as(name));
  return bytes;
}

void write_weight_file(const fs::path& folder, const ModelFolderContent& content, std::size_t file,
                       const ProduceTensor& produce) {
  const std::map<std::string, const NamedShape*> shapes = by_name(content.tensors);
  const auto& [file_name, names] = content.layout[file];
  std::vector<SafetensorsWriter::Declaration> declarations;
  for (const std::string& name : names) {
    declarations.push_back({name, content.stored_as(name), shapes.at(name)->shape});
  }
  SafetensorsWriter writer(folder / file_name, declarations, {{"format", "pt"}});
  for (const std::string& name : names) {
    produce(*shapes.at(name), [&](std::span<const std::byte> bytes) { writer.write(bytes); });
  }
  writer.finish();
}

void write_companions(const fs::path& folder, const ModelFolderContent& content) {
  // Readers look for a file of this name, and for an index where there is none.
  const bool single = content.layout.size() == 1 && content.layout[0].first == "model.safetensors";
  if (!single) write_index(folder, content);
  write_config(folder, content);
  copy_companions(content.base, folder);
  sync_folder(folder);
}

void write_model_folder(const fs::path& folder, const ModelFolderContent& content, const ProduceTensor& produce) {
  const fs::path temporary = folder.string() + fmt::format(".tmp-{}", ::getpid());
  remove_tree(temporary);
  make_folder_in(temporary);
  for (std::size_t file = 0; file < content.layout.size(); ++file) {
    write_weight_file(temporary, content, file, produce);
  }
  write_companions(temporary, content);
  remove_tree(folder);
  rename_path(temporary, folder);
  sync_folder(fs::absolute(folder).parent_path());
}

std::vector<std::byte> to_storage(std::span<const float> values, const std::string& dtype) {
  if (dtype == "F32") {
    const auto bytes = std::as_bytes(values);
    return {bytes.begin(), bytes.end()};
  }
  SHARDORA_CHECK(dtype == "BF16" || dtype == "F16");
  std::vector<std::byte> bytes(values.size() * 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = dtype == "BF16" ? bf16_from_float(values[i]) : f16_from_float(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  return bytes;
}

}  // namespace shardora
