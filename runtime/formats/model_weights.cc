// The weights of a model folder, checked against the config before a byte of them is read.
#include "runtime/formats/model_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "runtime/formats/json.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
// The tensors of a model, in the order in which they are used.

namespace {

class List {
 public:
  void add(const std::string& name, std::vector<std::int64_t> shape) { tensors_.push_back({name, std::move(shape)}); }
  void add_linear(const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
    add(name + ".weight", {out, in});
    if (bias) add(name + ".bias", {out});
  }
  std::vector<NamedShape> take() { return std::move(tensors_); }

 private:
  std::vector<NamedShape> tensors_;
};

void add_layer(const ModelConfig& config, const std::string& layer, List& list) {
  const std::int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const std::int64_t queries = config.num_attention_heads * config.head_dim;
  const std::int64_t keys = config.num_key_value_heads * config.head_dim;
  list.add(layer + "input_layernorm.weight", {hidden});
  list.add_linear(layer + "self_attn.q_proj", queries, hidden, config.attention_bias);
  list.add_linear(layer + "self_attn.k_proj", keys, hidden, config.attention_bias);
  list.add_linear(layer + "self_attn.v_proj", keys, hidden, config.attention_bias);
  if (config.query_key_norm) {
    list.add(layer + "self_attn.q_norm.weight", {config.head_dim});
    list.add(layer + "self_attn.k_norm.weight", {config.head_dim});
  }
  list.add_linear(layer + "self_attn.o_proj", hidden, queries, config.attention_output_bias);
  list.add(layer + "post_attention_layernorm.weight", {hidden});
  list.add_linear(layer + "mlp.gate_proj", inner, hidden, config.mlp_bias);
  list.add_linear(layer + "mlp.up_proj", inner, hidden, config.mlp_bias);
  list.add_linear(layer + "mlp.down_proj", hidden, inner, config.mlp_bias);
}

}  // namespace

std::vector<NamedShape> expected_tensors(const ModelConfig& config) {
  List list;
  list.add("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    add_layer(config, fmt::format("model.layers.{}.", i), list);
  }
  list.add("model.norm.weight", {config.hidden_size});
  if (!config.tie_word_embeddings) list.add("lm_head.weight", {config.vocab_size, config.hidden_size});
  return list.take();
}

std::vector<std::string> linear_modules(const ModelConfig& config) {
  std::vector<std::string> modules;
  for (const NamedShape& tensor : expected_tensors(config)) {
    constexpr std::string_view kEnd = ".weight";
    if (!tensor.name.ends_with("_proj.weight")) continue;
    modules.push_back(tensor.name.substr(0, tensor.name.size() - kEnd.size()));
  }
  return modules;
}

// Finding a model's weights: one file, or an index and its files.

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

// model.safetensors, or the files that model.safetensors.index.json names, each opened, with every tensor in exactly
// the file that the index names. Error(kBadInput) naming folder, file or tensor.
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

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

void require_shape(const SafetensorsFile& file, const std::string& tensor, const std::vector<std::int64_t>& expected) {
  const TensorEntry& entry = file.entry(tensor);
  const std::string where = printable(file.path().string());
  if (entry.shape != expected) {
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' has shape {}, but config.json asks for {}", where, printable(tensor),
           shape_text(entry.shape), shape_text(expected));
  }
  if (entry.dtype != "F32" && entry.dtype != "BF16" && entry.dtype != "F16") {
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' has dtype {}, expected F32, BF16 or F16", where, printable(tensor),
           entry.dtype);
  }
}

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

// What older versions of transformers stored, and what a tied model stores twice.
bool is_known_extra(const std::string& tensor, const SafetensorsFile& file, const ModelConfig& config) {
  if (tensor.ends_with(".rotary_emb.inv_freq")) return true;
  if (tensor != kHead) return false;  // untied it is no extra
  require_shape(file, tensor, {config.vocab_size, config.hidden_size});
  return true;
}

}  // namespace

ModelWeights::ModelWeights(const std::filesystem::path& folder, const ModelConfig& config)
    : files_(open_weight_files(folder)) {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    for (const auto& [tensor, entry] : files_[i].tensors()) file_index_[tensor] = i;
  }
  if (const auto head = file_index_.find(kHead); config.tie_word_embeddings && head != file_index_.end()) {
    tied_head_ = &files_[head->second];
  }
  std::set<std::string> known;
  for (const NamedShape& expected : expected_tensors(config)) {
    const auto found = file_index_.find(expected.name);
    if (found == file_index_.end()) {
      refuse(ExitStatus::kBadInput, "{}: tensor '{}', which config.json asks for, is missing from the weights",
             printable(folder.string()), expected.name);
    }
    require_shape(files_[found->second], expected.name, expected.shape);
    names_.push_back(expected.name);
    known.insert(expected.name);
  }
  std::erase_if(file_index_, [&](const auto& item) {
    const SafetensorsFile& file = files_[item.second];
    if (known.contains(item.first)) return false;
    if (is_known_extra(item.first, file, config)) return true;
    refuse(ExitStatus::kBadInput, "{}: tensor '{}' has no place in a {} model with this config.json",
           printable(file.path().string()), printable(item.first), config.model_type);
  });
}

const SafetensorsFile& ModelWeights::file_of(const std::string& tensor) const {
  const auto found = file_index_.find(tensor);
  SHARDORA_CHECK(found != file_index_.end());
  return files_[found->second];
}

std::vector<std::pair<std::string, std::vector<std::string>>> ModelWeights::layout() const {
  std::vector<std::pair<std::string, std::vector<std::string>>> result;
  for (const SafetensorsFile& file : files_) {
    std::vector<std::string> tensors;
    for (const auto& [tensor, entry] : file.tensors()) {
      if (file_index_.contains(tensor)) tensors.push_back(tensor);
    }
    std::stable_sort(tensors.begin(), tensors.end(), [&](const std::string& left, const std::string& right) {
      return file.entry(left).begin < file.entry(right).begin;
    });
    result.emplace_back(file.path().filename().string(), std::move(tensors));
  }
  return result;
}

bool ModelWeights::has_values(const std::string& name, const StoredTensor& other, int part, int parts) const {
  const bool tied = name == kHead && !file_index_.contains(kHead);
  if (!tied) return same_values({file_of(name), name}, other, part, parts);
  if (tied_head_ != nullptr) return same_values({*tied_head_, kHead}, other, part, parts);
  return same_values({file_of(kEmbedding), kEmbedding}, other, part, parts);
}

bool ModelWeights::has_another_head(int part, int parts) const {
  return tied_head_ != nullptr && !same_values({*tied_head_, kHead}, {file_of(kEmbedding), kEmbedding}, part, parts);
}

std::string use_stored_head(const std::filesystem::path& folder, ModelConfig& config,
                            std::optional<ModelWeights>& weights) {
  config.tie_word_embeddings = false;
  weights.emplace(folder, config);
  return fmt::format(
      "{}: {} differs from {}, though config.json has tie_word_embeddings = true: the stored head is used; set the key "
      "to false, so that other programs use it too, or remove the tensor",
      printable(folder.string()), kHead, kEmbedding);
}

std::string ModelWeights::fingerprint() const {
  std::string text;
  for (const std::string& tensor : names_) {
    const TensorEntry& entry = file_of(tensor).entry(tensor);
    text += fmt::format("{} {} {} {}\n", tensor, entry.dtype, shape_text(entry.shape), entry.end - entry.begin);
  }
  return hex(checksum(std::as_bytes(std::span(text))));
}

}  // namespace shardora
