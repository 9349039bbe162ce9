// A dataset file, as what to learn from and as prompts, with each answer to sequences that are too long.
#include "runtime/data/dataset.h"

#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

constexpr std::int64_t kVocabulary = 300, kLongest = 5;

void require_whole(const Dataset& dataset) {
  std::int64_t tokens = 0, targets = 0;
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const Dataset::Sequence sequence = dataset[i];
    require(!sequence.tokens.empty() && std::ssize(sequence.tokens) <= kLongest, "a sequence of a wrong length");
    require(sequence.tokens.size() == sequence.loss_mask.size() && sequence.loss_mask[0] == 0, "a wrong mask");
    for (const std::int32_t token : sequence.tokens) require(token >= 0 && token < kVocabulary, "a wrong token");
    tokens += std::ssize(sequence.tokens);
    targets += dataset.target_count(i);
  }
  require(dataset.size() > 0 && tokens == dataset.tokens() && targets == dataset.targets(), "wrong sums");
}

}  // namespace

void dataset(std::string_view input) {
  const Scratch scratch;
  const std::filesystem::path path = scratch.put("data.safetensors", safetensors_bytes(input));
  for (const Overlong overlong : {Overlong::kError, Overlong::kTruncate, Overlong::kDrop}) {
    const bool learns = accepted([&] { require_whole(Dataset(path, kVocabulary, kLongest, overlong)); });
    const bool prompts =
        accepted([&] { require_whole(Dataset(path, kVocabulary, kLongest, overlong, Dataset::Use::kPrompts)); });
    require(prompts || !learns, "what can be learned from was refused as prompts");
  }
}

}  // namespace shardora::fuzz
