// One way to split a run over its ranks: does it fit, how fast is it, what does it send.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "runtime/jobs/plan/speeds.h"
#include "runtime/jobs/plan/workload.h"

namespace shardora {

// What a run would be placed on.
struct PlanDevice {
  std::string name;
  bool gpu = false;
  HostMemory memory;                // of one GPU, or of this host
  std::int64_t resident_bytes = 0;  // of a rank, before anything of the run is taken
  std::shared_ptr<Speeds> speeds;   // of a rank
};

struct DiskPlan {
  std::int64_t adapter_bytes = 0;     // under full: the model's
  std::int64_t checkpoint_bytes = 0;  // each
  std::int64_t merged_bytes = 0;
};

struct SplitPlan {
  int data = 1, tensor = 1;
  std::string refused;  // why this split cannot be at all; the rest is empty then
  MemoryPlan memory;
  std::string lacks;  // what does not fit, as the start of a run would say it; empty where it fits
  bool one_copy = false;
  double micro_batches = 0;
  StepTraffic traffic;
  StepTime time;
  double tokens_per_second = 0;
  DiskPlan disk;
  bool fits() const { return refused.empty() && lacks.empty(); }
};

class Planner {
 public:
  Planner(const RunOptions& options, ModelConfig config, PlanDevice device);
  // `options`: the given ones, or changed in how they use memory. Throws Error(kUsage) where the adapter is at fault.
  SplitPlan evaluate(const RunOptions& options, int ranks, int tensor) const;

  const ModelConfig& config() const { return config_; }
  const PlanDevice& device() const { return device_; }
  const Workload& workload() const { return workload_; }
  DryRun dry_run_whole() const;  // on one rank: logical sizes

 private:
  void add_time(const RunOptions& options, const DryRun& dry_run, SplitPlan& split) const;

  RunOptions options_;
  ModelConfig config_;
  std::optional<PeftConfig> adapter_;
  PlanDevice device_;
  Workload workload_;
};

}  // namespace shardora
