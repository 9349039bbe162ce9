#include "runtime/jobs/generate/prompt_groups.h"

#include "kernels/check.h"

namespace shardora {

std::vector<PromptGroup> group_prompts(std::span<const PromptSize> prompts, int data_rank, int data_size,
                                       const GroupLimits& limits) {
  SHARDORA_CHECK(limits.beams >= 1 && limits.rows >= limits.beams && data_rank >= 0 && data_rank < data_size);
  std::vector<PromptGroup> groups;
  for (std::int64_t i = data_rank; i < std::ssize(prompts); i += data_size) {
    const PromptSize& prompt = prompts[static_cast<std::size_t>(i)];
    const std::int64_t cache_rows = limits.beams * prompt.rows();
    const bool fits = !groups.empty() && groups.back().cache_rows + cache_rows <= limits.tokens &&
                      groups.back().most_rows + limits.beams <= limits.rows;
    if (!fits) groups.emplace_back();
    PromptGroup& group = groups.back();
    group.prompts.push_back(i);
    group.prompt_tokens += prompt.tokens;
    group.cache_rows += cache_rows;
    group.most_rows += limits.beams;
  }
  return groups;
}

}  // namespace shardora
