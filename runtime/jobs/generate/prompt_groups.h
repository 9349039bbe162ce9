// Which prompts are continued side by side. Each data rank has its own: prompt i goes to data rank i mod their number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shardora {

struct GroupLimits {
  std::int64_t beams = 1;   // of each prompt
  std::int64_t tokens = 0;  // rows of the cache; a prompt that needs more goes alone
  std::int64_t rows = 0;    // continuations under way at a time; at least `beams`
};

// A prompt and its longest continuation.
struct PromptSize {
  std::int64_t tokens = 0, most_new = 0;
  // Rows of the cache for one beam: the last token of a continuation is never looked back at.
  std::int64_t rows() const { return tokens + most_new - 1; }
};

struct PromptGroup {
  std::vector<std::int64_t> prompts;  // ascending
  std::int64_t prompt_tokens = 0, cache_rows = 0, most_rows = 0;
};

std::vector<PromptGroup> group_prompts(std::span<const PromptSize> prompts, int data_rank, int data_size,
                                       const GroupLimits& limits);

}  // namespace shardora
