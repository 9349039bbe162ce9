#include "runtime/jobs/plan/fitting_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

namespace shardora {
namespace {

constexpr std::int64_t kMostRanks = 4096;

// A change in how memory is used; false where it changes nothing.
using Change = std::function<bool(RunOptions&)>;

// Cheapest in time first.
std::vector<Change> changes(const Planner& planner) {
  const auto set = [](auto& value, const auto& to) { return value != to && (value = to, true); };
  const auto frozen_float32 = [](const RunOptions& o) {
    return o.adapter.method != AdapterMethod::kFull && o.model.dtype != "bfloat16";
  };
  std::vector<Change> all;
  if (!planner.device().gpu) {
    all.push_back([=](RunOptions& o) {
      return frozen_float32(o) && o.model.weight_layouts == "two" && set(o.model.weight_layouts, "one");
    });
  }
  all.push_back([=](RunOptions& o) {
    return o.train.recompute == Recompute::kNone && set(o.train.recompute, Recompute::kSelective);
  });
  for (const std::int64_t part : {2, 4, 8, 16}) {
    all.push_back([=, longest = planner.workload().longest()](RunOptions& o) {
      const std::int64_t tokens = std::max(o.train.micro_batch_tokens / part, longest);
      return tokens < o.train.micro_batch_tokens && set(o.train.micro_batch_tokens, tokens);
    });
  }
  all.push_back([=](RunOptions& o) {
    return frozen_float32(o) && o.model.weight_layouts != "two" && set(o.model.dtype, "bfloat16");
  });
  all.push_back([=](RunOptions& o) { return set(o.train.recompute, Recompute::kFull); });
  return all;
}

// The fastest split of so many ranks that fits.
std::optional<SplitPlan> best_split(const Planner& planner, const RunOptions& options, int ranks) {
  std::optional<SplitPlan> best;
  for (const int tensor : tensor_sizes(options, ranks)) {
    SplitPlan split = planner.evaluate(options, ranks, tensor);
    if (split.fits() && (!best || split.tokens_per_second > best->tokens_per_second)) best = std::move(split);
  }
  return best;
}

std::string difference(const RunOptions& before, const RunOptions& after, int ranks_before, int ranks) {
  std::string text;
  const auto add = [&](bool differs, const std::string& one) {
    if (differs) text += (text.empty() ? "" : ", ") + one;
  };
  add(after.model.weight_layouts != before.model.weight_layouts, "model.weight_layouts = one");
  add(after.model.dtype != before.model.dtype, "model.dtype = bfloat16");
  add(after.train.recompute != before.train.recompute,
      after.train.recompute == Recompute::kFull ? "train.recompute = full" : "train.recompute = selective");
  add(after.train.micro_batch_tokens != before.train.micro_batch_tokens,
      fmt::format("train.micro_batch_tokens = {}", after.train.micro_batch_tokens));
  add(ranks != ranks_before, fmt::format("{} devices", ranks));
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

std::vector<FittingChange> find_fitting_changes(const Planner& planner, const RunOptions& options, int ranks) {
  std::vector<FittingChange> found;
  const std::vector<Change> all = changes(planner);
  const auto fits = [&](const RunOptions& changed, std::int64_t with_ranks) {
    const int count = static_cast<int>(with_ranks);
    std::optional<SplitPlan> split = best_split(planner, changed, count);
    if (!split) return false;
    found.push_back({difference(options, changed, ranks, count), count, std::move(*split)});
    return true;
  };
  // One change on top of the other, until it fits.
  const auto add_up = [&](std::int64_t with_ranks) {
    RunOptions changed = options;
    return (with_ranks != ranks && fits(changed, with_ranks)) ||
           std::any_of(all.begin(), all.end(),
                       [&](const Change& change) { return change(changed) && fits(changed, with_ranks); });
  };
  bool shorter = false;  // the largest micro-batch that fits is enough
  for (const Change& change : all) {
    RunOptions changed = options;
    if (!change(changed)) continue;
    const bool shortens = changed.train.micro_batch_tokens < options.train.micro_batch_tokens;
    if (!(shortens && shorter) && fits(changed, ranks)) shorter = shorter || shortens;
  }
  if (found.empty()) add_up(ranks);
  if (!planner.device().gpu) return found;  // more ranks of a host share the same memory
  const std::int64_t most = std::min(kMostRanks, options.train.global_batch * planner.config().num_attention_heads);
  for (std::int64_t more = 2 * ranks; more <= most && !add_up(more); more *= 2) {
  }
  return found;
}

}  // namespace shardora
