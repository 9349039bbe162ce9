// A dataset file (safetensors: tokens int32 [N], offsets int64 [S+1], loss_mask uint8 [N], optional), read whole and
// checked before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/options.h"

namespace shardora {

class Dataset {
 public:
  // Throws Error(kBadInput) naming the file: ids outside [0, vocabulary), offsets out of order, empty sequences, a
  // first token that is a target, no target at all, missing, unknown or misshapen tensors. `longest` bounds a sequence;
  // a longer one is an error, cut, or dropped, by `overlong`; cut and dropped ones are counted.
  // Prompts, which are continued and not learned from, need no target; choices have tensors of their own (ChoiceSet).
  enum class Use : std::uint8_t { kLearning, kPrompts, kChoices };
  Dataset(const std::filesystem::path& path, std::int64_t vocabulary, std::int64_t longest, Overlong overlong,
          Use use = Use::kLearning);

  struct Sequence {
    std::span<const std::int32_t> tokens;
    std::span<const std::uint8_t> loss_mask;  // 1 where the token is a target; the first is never one
  };
  std::int64_t size() const { return static_cast<std::int64_t>(ranges_.size()); }  // sequences kept
  Sequence operator[](std::int64_t index) const;
  std::int64_t length(std::int64_t index) const;        // tokens
  std::int64_t target_count(std::int64_t index) const;  // targets
  std::int64_t longest() const { return longest_; }     // tokens of the longest kept sequence
  std::int64_t tokens() const;                          // of all kept sequences
  std::int64_t targets() const;
  std::int64_t cut() const { return cut_; }
  std::int64_t dropped() const { return dropped_; }
  std::int64_t without_targets() const { return without_targets_; }  // kept sequences that teach nothing
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // Checksum of the kept sequences and their targets, for the handshake and for resuming.
  std::string fingerprint() const;

 private:
  struct Range {
    std::int64_t begin, end, targets;
  };
  void keep(std::int64_t begin, std::int64_t end);
  std::vector<std::int32_t> tokens_;
  std::vector<std::uint8_t> loss_mask_;
  std::vector<Range> ranges_;
  std::int64_t longest_ = 0, cut_ = 0, dropped_ = 0, without_targets_ = 0;
  std::uint64_t checksum_ = 0;
  std::map<std::string, std::string> metadata_;
};

}  // namespace shardora
