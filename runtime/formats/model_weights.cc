// The weights of a model folder, checked against the config before a byte of them is read.
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "runtime/formats/model_folder.h"
#include "runtime/formats/weight_files.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

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
