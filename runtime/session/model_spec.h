// What a rank builds, whatever it builds it on: decoder, adapter, parameters and activations in one arena. Its
// dry run measures what that takes before there is a device, a weight or another rank.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/adapter/adapter.h"
#include "runtime/comm/dry_run_communicator.h"
#include "runtime/comm/process_grid.h"
#include "runtime/memory/memory_plan.h"
#include "runtime/observe/cost_model.h"

namespace shardora {

// What a loaded model is made for.
struct ModelUse {
  BatchLimits limits;           // largest micro-batch
  std::int64_t positions = 0;   // longest sequence
  std::int64_t cache_rows = 0;  // tokens whose keys and values are kept: generation
  bool training = false;        // gradients, moments, and all layers' activations are kept
  bool row_scores = false;      // what gives each target's own loss is kept: Activations::row_scores
};

// For the cost model: of the whole model, and of this rank's part of it. `adapter`: null where there is none.
ModelSizes model_sizes(Decoder& decoder, const Adapter* adapter);
ModelSizes shard_sizes(Decoder& decoder, const Adapter* adapter);

// What a rank's dry run has shown.
struct DryRun {
  Arena arena;                           // a measuring one: bytes by segment
  MemoryPlan memory;                     // what is there before, and attention's own workspace, are the device's to add
  std::vector<AttentionPlan> attention;  // each kind once
  ParameterSet parameters;               // sizes and placements; no values
  ModelSizes sizes;                      // of this rank's part
  std::int64_t chunk_rows = 0;           // of the head: its rows at a time
  std::vector<NamedShape> tensors;       // of the base model, logical ones
  Traffic micro_batch, step;             // over the tensor group: for each largest micro-batch, and once a step
};

struct BuiltModel {
  std::unique_ptr<TensorParallel> parallel;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Adapter> adapter;
  ParameterSet parameters;
  Activations activations;
};

class ModelSpec {
 public:
  struct Rank {
    BackendKind backend = BackendKind::kCpu;
    GridPosition tensor;  // this rank's place in its tensor group
  };

  // `existing`: the configuration of the adapter to start from, null where there is none. Throws Error(kUsage).
  ModelSpec(const RunOptions& options, const ModelConfig& config, const PeftConfig* existing, const Rank& rank,
            const ModelUse& plan);

  std::unique_ptr<BuiltModel> assemble(Backend& backend, Communicator& tensor_group, Arena& arena,
                                       WeightSource& source) const;
  // One step on the largest micro-batch, with operations that do nothing, counts every buffer that a real one will
  // take.
  DryRun dry_run() const;
  // Of a frozen weight, for both directions: less memory than one for each, slower.
  void keep_one_copy() { one_copy_ = true; }
  bool may_keep_two_copies() const;  // model.weight_layouts leaves it open

  bool adapted() const { return adapted_; }
  bool on_device() const { return rank_.backend == BackendKind::kCuda; }
  const PeftConfig& structure() const { return structure_; }
  const PlacementRule& rule() const { return rule_; }
  DType activation_dtype() const;    // of what the products read and write
  std::string weights_text() const;  // how frozen weights are kept; empty where none are

 private:
  ActivationPlan activation_plan() const;

  RunOptions options_;
  ModelConfig config_;
  Rank rank_;
  ModelUse plan_;
  bool full_, adapted_, one_copy_;
  AdapterOptions adapter_options_;
  PeftConfig structure_;
  PlacementRule rule_;
};

}  // namespace shardora
