#include "runtime/jobs/plan/remedies.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

namespace shardora {
namespace {

constexpr std::int64_t kMostRanks = 4096;

// A change in how memory is used, cheapest in time first; false where it changes nothing.
struct Change {
  std::string text;
  std::function<bool(RunOptions&)> make;
};

std::vector<Change> changes(const Planner& planner) {
  std::vector<Change> all;
  const bool gpu = planner.device().gpu;
  const auto frozen = [](const RunOptions& o) { return o.adapter.method != AdapterMethod::kFull; };
  if (!gpu) {
    all.push_back({"model.weight_layouts = one", [=](RunOptions& o) {
                     if (!frozen(o) || o.model.dtype == "bfloat16" || o.model.weight_layouts != "two") return false;
                     o.model.weight_layouts = "one";
                     return true;
                   }});
  }
  all.push_back({"train.recompute = selective", [](RunOptions& o) {
                   if (o.train.recompute != Recompute::kNone) return false;
                   o.train.recompute = Recompute::kSelective;
                   return true;
                 }});
  for (const std::int64_t part : {2, 4, 8, 16}) {
    const std::int64_t longest = planner.workload().longest();
    all.push_back({fmt::format("train.micro_batch_tokens / {}", part), [=](RunOptions& o) {
                     const std::int64_t tokens = std::max(o.train.micro_batch_tokens / part, longest);
                     if (tokens >= o.train.micro_batch_tokens) return false;
                     o.train.micro_batch_tokens = tokens;
                     return true;
                   }});
  }
  all.push_back({"model.dtype = bfloat16", [=](RunOptions& o) {
                   if (!frozen(o) || o.model.dtype == "bfloat16" || o.model.weight_layouts == "two") return false;
                   o.model.dtype = "bfloat16";
                   return true;
                 }});
  all.push_back({"train.recompute = full", [](RunOptions& o) {
                   if (o.train.recompute == Recompute::kFull) return false;
                   o.train.recompute = Recompute::kFull;
                   return true;
                 }});
  return all;
}

// The fastest split of so many ranks that fits.
std::optional<SplitPlan> best_of(const Planner& planner, const RunOptions& options, int ranks) {
  std::optional<SplitPlan> best;
  for (const int tensor : tensor_sizes(options, ranks)) {
    SplitPlan split = planner.evaluate(options, ranks, tensor);
    if (split.fits() && (!best || split.tokens_per_second > best->tokens_per_second)) best = std::move(split);
  }
  return best;
}

std::string text_of(const RunOptions& before, const RunOptions& after) {
  std::string text;
  const auto add = [&](const std::string& one) { text += (text.empty() ? "" : ", ") + one; };
  if (after.model.weight_layouts != before.model.weight_layouts) add("model.weight_layouts = one");
  if (after.model.dtype != before.model.dtype) add("model.dtype = bfloat16");
  if (after.train.recompute != before.train.recompute) {
    add(after.train.recompute == Recompute::kFull ? "train.recompute = full" : "train.recompute = selective");
  }
  if (after.train.micro_batch_tokens != before.train.micro_batch_tokens) {
    add(fmt::format("train.micro_batch_tokens = {}", after.train.micro_batch_tokens));
  }
  return text;
}

}  // namespace

std::vector<int> tensor_sizes(const RunOptions& options, int ranks) {
  if (options.parallel.tensor > 1) return {options.parallel.tensor};
  std::vector<int> sizes;
  for (int tensor = 1; tensor <= ranks; ++tensor) {
    if (ranks % tensor == 0) sizes.push_back(tensor);
  }
  return sizes;
}

std::vector<Remedy> find_remedies(const Planner& planner, const RunOptions& options, int ranks) {
  std::vector<Remedy> remedies;
  const std::vector<Change> all = changes(planner);
  const auto try_it = [&](const RunOptions& changed, int with_ranks) {
    std::optional<SplitPlan> split = best_of(planner, changed, with_ranks);
    if (!split) return false;
    std::string text = text_of(options, changed);
    if (with_ranks != ranks) text += fmt::format("{}{} devices", text.empty() ? "" : ", ", with_ranks);
    remedies.push_back({.change = std::move(text), .ranks = with_ranks, .split = std::move(*split)});
    return true;
  };
  bool shorter = false;  // the largest micro-batch that fits is enough
  for (const Change& change : all) {
    RunOptions changed = options;
    const bool shortens = change.text.starts_with("train.micro_batch");
    if ((shortens && shorter) || !change.make(changed)) continue;
    if (try_it(changed, ranks) && shortens) shorter = true;
  }
  if (remedies.empty()) {  // one on top of the other, until it fits
    RunOptions changed = options;
    for (const Change& change : all) {
      if (change.make(changed) && try_it(changed, ranks)) break;
    }
  }
  if (!planner.device().gpu) return remedies;  // more ranks of a host share the same memory
  const std::int64_t most = std::min(kMostRanks, options.train.global_batch * planner.config().num_attention_heads);
  for (std::int64_t more = 2 * ranks; more <= most; more *= 2) {
    RunOptions changed = options;
    bool fits = try_it(changed, static_cast<int>(more));
    for (auto change = all.begin(); !fits && change != all.end(); ++change) {
      fits = change->make(changed) && try_it(changed, static_cast<int>(more));
    }
    if (fits) break;
  }
  return remedies;
}

}  // namespace shardora
