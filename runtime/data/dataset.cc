// Reads and checks a dataset file. Everything is read first, then every rule is tried in the order of cli.md's table;
// what is left is whole sequences whose targets are known.
#include "runtime/data/dataset.h"

#include <algorithm>
#include <numeric>

#include "runtime/data/dataset_file.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr const char* kFormat = "shardora.dataset.v1";

void check_format(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.metadata().find("format");
  if (found == file.metadata().end()) {
    refuse_dataset(name, "its metadata has no format, expected {}; make the file with shardora-prepare", kFormat);
  }
  if (found->second != kFormat) {
    refuse_dataset(name, "its metadata says format {}, expected {}", printable(found->second), kFormat);
  }
}

void check_names(const SafetensorsFile& file, Dataset::Use use, const std::string& name) {
  for (const auto& [tensor, entry] : file.tensors()) {
    if (tensor == "tokens" || tensor == "offsets" || tensor == "loss_mask") continue;
    if (use == Dataset::Use::kChoices && (tensor == "questions" || tensor == "answers")) continue;
    refuse_dataset(name, "unknown tensor {}, expected tokens, offsets and perhaps loss_mask", printable(tensor));
  }
}

void check_offsets(std::span<const std::int64_t> offsets, std::int64_t tokens, const std::string& name) {
  if (offsets.size() < 2) refuse_dataset(name, "holds no sequence: tensor offsets has {} entries", offsets.size());
  if (offsets.front() != 0) refuse_dataset(name, "tensor offsets starts at {}, expected 0", offsets.front());
  if (offsets.back() != tokens) {
    refuse_dataset(name, "tensor offsets ends at {}, expected {}, the number of tokens", offsets.back(), tokens);
  }
  for (std::size_t k = 0; k + 1 < offsets.size(); ++k) {
    if (offsets[k + 1] < offsets[k]) {
      refuse_dataset(name, "tensor offsets falls from {} to {} after sequence {}", offsets[k], offsets[k + 1], k);
    }
    if (offsets[k + 1] == offsets[k]) refuse_dataset(name, "sequence {} is empty", k);
  }
}

void check_tokens(std::span<const std::int32_t> tokens, std::span<const std::int64_t> offsets, std::int64_t vocabulary,
                  const std::string& name) {
  const auto wrong =
      std::find_if(tokens.begin(), tokens.end(), [&](std::int32_t id) { return id < 0 || id >= vocabulary; });
  if (wrong == tokens.end()) return;
  const auto place = static_cast<std::int64_t>(wrong - tokens.begin());
  const auto after = std::upper_bound(offsets.begin(), offsets.end(), place);
  refuse_dataset(name,
                 "sequence {} has id {} at position {}, outside the model's vocabulary of {}; was it made with this "
                 "model's tokenizer?",
                 after - offsets.begin() - 1, *wrong, place - *(after - 1), vocabulary);
}

// Where the file has no mask, every token but each sequence's first is a target.
std::vector<std::uint8_t> read_mask(const SafetensorsFile& file, std::span<const std::int64_t> offsets,
                                    std::size_t tokens, const std::string& name) {
  if (!file.has("loss_mask")) {
    std::vector<std::uint8_t> mask(tokens, 1);
    for (const std::int64_t first : offsets.first(offsets.size() - 1)) mask[static_cast<std::size_t>(first)] = 0;
    return mask;
  }
  auto mask = read_values<std::uint8_t>(file, "loss_mask", "U8", name);
  if (mask.size() != tokens) {
    refuse_dataset(name, "tensor loss_mask has {} entries, expected {}, one a token", mask.size(), tokens);
  }
  const auto wrong = std::find_if(mask.begin(), mask.end(), [](std::uint8_t value) { return value > 1; });
  if (wrong != mask.end()) {
    refuse_dataset(name, "tensor loss_mask has {} at entry {}, expected 0 or 1", *wrong, wrong - mask.begin());
  }
  for (std::size_t k = 0; k + 1 < offsets.size(); ++k) {
    if (mask[static_cast<std::size_t>(offsets[k])] != 0) {
      refuse_dataset(name, "loss_mask makes the first token of sequence {} a target, but nothing predicts it", k);
    }
  }
  return mask;
}

}  // namespace

Dataset::Dataset(const std::filesystem::path& path, std::int64_t vocabulary, std::int64_t longest, Overlong overlong,
                 Use use) {
  SHARDORA_CHECK(vocabulary >= 1 && longest >= 1);
  const SafetensorsFile file(path, Links::kFollow);  // a user may keep data where they like
  const std::string name = printable(path.string());
  check_format(file, name);
  check_names(file, use, name);
  metadata_ = file.metadata();
  tokens_ = read_values<std::int32_t>(file, "tokens", "I32", name);
  const auto offsets = read_values<std::int64_t>(file, "offsets", "I64", name);
  check_offsets(offsets, static_cast<std::int64_t>(tokens_.size()), name);
  check_tokens(tokens_, offsets, vocabulary, name);
  loss_mask_ = read_mask(file, offsets, tokens_.size(), name);

  for (std::size_t k = 0; k + 1 < offsets.size(); ++k) {
    const std::int64_t begin = offsets[k], length = offsets[k + 1] - begin;
    if (length <= longest) {
      keep(begin, begin + length);
    } else if (overlong == Overlong::kTruncate) {
      keep(begin, begin + longest);
      ++cut_;
    } else if (overlong == Overlong::kDrop) {
      ++dropped_;
    } else {
      refuse_dataset(name,
                     "sequence {} has {} tokens, more than the limit of {}; set data.overlong = truncate or drop, or "
                     "raise data.sequence_length",
                     k, length, longest);
    }
  }
  if (size() == 0)
    refuse_dataset(name, "all {} sequences are longer than {} tokens and were dropped", dropped_, longest);
  if (targets() == 0 && use == Use::kLearning) {
    refuse_dataset(name, "no token is a target: nothing to learn from{}", cut_ > 0 ? " after truncation" : "");
  }
}

void Dataset::keep(std::int64_t begin, std::int64_t end) {
  const auto mask =
      std::span(loss_mask_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  const Range range{begin, end, std::accumulate(mask.begin(), mask.end(), std::int64_t{0})};
  ranges_.push_back(range);
  longest_ = std::max(longest_, end - begin);
  without_targets_ += range.targets == 0;
  const Sequence sequence = (*this)[size() - 1];
  // The length goes in as well: the same tokens cut into other sequences are other content.
  const std::int64_t length = end - begin;
  checksum_ = checksum(std::as_bytes(std::span(&length, 1)), checksum_);
  checksum_ = checksum(std::as_bytes(sequence.tokens), checksum_);
  checksum_ = checksum(std::as_bytes(sequence.loss_mask), checksum_);
}

Dataset::Sequence Dataset::operator[](std::int64_t index) const {
  SHARDORA_CHECK(index >= 0 && index < size());
  const Range& range = ranges_[static_cast<std::size_t>(index)];
  const auto begin = static_cast<std::size_t>(range.begin), count = static_cast<std::size_t>(range.end - range.begin);
  return {std::span(tokens_).subspan(begin, count), std::span(loss_mask_).subspan(begin, count)};
}

std::int64_t Dataset::length(std::int64_t index) const {
  SHARDORA_CHECK(index >= 0 && index < size());
  const Range& range = ranges_[static_cast<std::size_t>(index)];
  return range.end - range.begin;
}

std::int64_t Dataset::target_count(std::int64_t index) const {
  SHARDORA_CHECK(index >= 0 && index < size());
  return ranges_[static_cast<std::size_t>(index)].targets;
}

std::int64_t Dataset::tokens() const {
  return std::accumulate(ranges_.begin(), ranges_.end(), std::int64_t{0},
                         [](std::int64_t sum, const Range& range) { return sum + range.end - range.begin; });
}

std::int64_t Dataset::targets() const {
  return std::accumulate(ranges_.begin(), ranges_.end(), std::int64_t{0},
                         [](std::int64_t sum, const Range& range) { return sum + range.targets; });
}

std::string Dataset::fingerprint() const { return hex(checksum_); }

}  // namespace shardora
