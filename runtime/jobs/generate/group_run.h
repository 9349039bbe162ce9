// Continues one group of prompts after another: all that are under way in one forward pass a token.
#pragma once

#include <memory>

#include "runtime/data/dataset.h"
#include "runtime/jobs/generate/cached_batches.h"
#include "runtime/jobs/generate/next_tokens.h"
#include "runtime/jobs/generate/prompt_groups.h"

namespace shardora {

class GroupRun {
 public:
  // Nothing is owned.
  struct Parts {
    const GenerateOptions& options;
    const Context& context;
    LoadedModel& model;
    const Dataset& prompts;
    std::span<const PromptSize> sizes;          // of all prompts
    std::span<const std::int64_t> stop_tokens;  // each ends a continuation
  };
  GroupRun(const Parts& parts, std::int64_t most_rows);
  // Into `found`, by prompt. Collective over the tensor group.
  void run(const PromptGroup& group, std::vector<Continuation>& found);

 private:
  void start(const PromptGroup& group);
  std::unique_ptr<Search> make_search(std::int32_t last_of_prompt, std::int64_t most_new) const;
  void step(const CachedBatch& cached);
  void collect_rows();
  void copy_beams();
  std::span<const double> uniforms();

  Parts parts_;
  NextTokens next_tokens_;
  CachedBatches batches_;
  RandomKey key_;
  std::vector<std::int64_t> group_;  // its prompts by number
  std::vector<CachedBatches::Prompt> prompts_;
  std::vector<std::unique_ptr<Search>> searches_;  // of the group's prompts
  std::vector<CachedBatches::Row> rows_;
  std::vector<double> uniforms_;
  std::int64_t new_tokens_ = 0;  // of every continuation under way
};

}  // namespace shardora
