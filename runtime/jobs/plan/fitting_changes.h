// What would make a run fit, found by trying it.
#pragma once

#include "runtime/jobs/plan/split_plan.h"

namespace shardora {

// The tensor sizes to look at: those that divide the ranks, or the one that was asked for.
std::vector<int> tensor_sizes(const RunOptions& options, int ranks);

struct FittingChange {
  std::string text;  // "train.recompute = selective", or several, joined
  int ranks = 1;
  SplitPlan split;  // with the change made
};

// The cheapest changes of each sort that let the run fit on so many ranks, or on more of them; none: nothing tried
// did.
std::vector<FittingChange> find_fitting_changes(const Planner& planner, const RunOptions& options, int ranks);

}  // namespace shardora
