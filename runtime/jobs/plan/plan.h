// A run before it is started: what each way to split it over the ranks takes of memory, time, network and disk, and
// which is best. Loads nothing, allocates nothing of the run, and needs no other rank.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/jobs/plan/remedies.h"

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
  double shown_speed = 1;            // a share that measuring saw; 1 where nothing was measured
  std::vector<std::size_t> as_good;  // splits that the measuring cannot tell from the best
  std::string warning;               // of a busy machine; empty: none
  std::vector<Remedy> remedies;      // where nothing fits

  std::int64_t trained_parameters() const;
};

// options.plan and a training run's options. Throws Error(kUsage) for what cannot be planned.
RunPlan make_plan(const RunOptions& options);

std::string to_text(const RunPlan& plan);
nlohmann::ordered_json to_json(const RunPlan& plan);

}  // namespace shardora
