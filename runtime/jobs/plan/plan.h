// A run before it is started: what each way to split it over the ranks takes of memory, time, network and disk, and
// which is best. Loads nothing, allocates nothing of the run, and needs no other rank.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/jobs/plan/fitting_changes.h"

namespace shardora {

struct RunPlan {
  std::string model, device;
  std::int64_t parameters = 0;
  std::vector<std::pair<std::string, std::int64_t>> trained;  // by kind: A, B, m, or weights
  int devices = 1;
  double flops_per_token = 0;  // ModelFlops
  double tokens_per_step = 0, steps = 0;
  std::vector<SplitPlan> splits;
  std::optional<std::size_t> best;
  std::string why;
  std::string warning;                         // where other work disturbs the measuring; empty: none
  std::vector<FittingChange> fitting_changes;  // where nothing fits

  std::int64_t trained_parameters() const;
};

// options.plan and a training run's options. Throws Error(kUsage) for what cannot be planned.
RunPlan make_plan(const RunOptions& options);
// A line where this load of the host (threads that run or wait to run) leaves fewer cores than the measuring's threads
// use; else empty.
std::string host_load_warning(double load, int threads, int cores);

}  // namespace shardora
