// A model made ready to run on this rank: decoder, adapter, parameters and activations in one planned arena. What
// train, eval and generate have in common.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "runtime/adapter/adapter.h"
#include "runtime/memory/memory_plan.h"
#include "runtime/train/run.h"

namespace shardora {

// The files of a run, opened and checked on each rank before any weight is read.
struct ModelFiles {
  std::filesystem::path folder;
  ModelConfig config;
  std::optional<ModelWeights> weights;  // empty: model.init = random
  std::optional<PeftAdapter> adapter;   // adapter.path
  std::string fingerprint;              // of the base model, for the handshake and for resuming
  std::string adapter_fingerprint;      // of adapter.path
};
// Throws Error naming the file. A checkpoint folder is taken for the adapter (or, under full, the model) in it.
ModelFiles open_model_files(const RunOptions& options);

// What an instance is made for.
struct InstancePlan {
  BatchLimits limits;          // largest micro-batch
  std::int64_t positions = 0;  // longest sequence
  std::int64_t cache_rows = 0;  // tokens whose keys and values are kept
  bool training = false;       // gradients, moments, and all layers' activations are kept
};

class Instance {
 public:
  // Plans memory, then reads the weights; the adapter, if there is one, is loaded from files.adapter or, where there is
  // none, initialised. Collective over the tensor group. Throws AgreedError on all ranks of the world where one fails;
  // where memory is not enough (kOutOfMemory) before any weight is read.
  Instance(const RunOptions& options, const Machine& machine, const ModelFiles& files, const InstancePlan& plan);
  ~Instance();

  Decoder& decoder() { return *parts_->decoder; }
  Adapter* adapter() { return parts_->adapter.get(); }  // null: method full, or a bare model
  ParameterSet& parameters() { return parts_->parameters; }
  const Activations& activations() const { return parts_->activations; }
  const PeftConfig& structure() const { return structure_; }
  const AdapterOptions& adapter_options() const { return adapter_options_; }
  Arena& arena() { return *arena_; }
  const Arena& plan() const { return plan_; }  // the rehearsal's: bytes by segment
  const MemoryPlan& memory() const { return memory_; }
  const PlacementRule& rule() const { return *rule_; }

  DType activation_dtype() const;    // of what the products read and write
  std::string weights_text() const;  // how frozen weights are kept; empty where none are
  // What this rank holds where it computes: of the device, all that is taken there now; of the host, its peak.
  std::int64_t used_bytes() const;

  PassContext pass(const DeviceBatch& batch, std::int64_t step, bool training);
  void refresh_norms();
  void finish_gradients();

 private:
  struct Parts {  // built twice: for the rehearsal, and for real
    std::unique_ptr<TensorParallel> parallel;
    std::unique_ptr<Decoder> decoder;
    std::unique_ptr<Adapter> adapter;
    ParameterSet parameters;
    Activations activations;
  };
  std::unique_ptr<Parts> assemble(Backend& backend, Communicator& tensor_group, Arena& arena, WeightSource& source,
                                  const InstancePlan& plan) const;
  void rehearse(const InstancePlan& plan);
  void choose_copies(const InstancePlan& plan);
  bool on_device() const;
  ActivationPlan activation_plan(const InstancePlan& plan) const;
  HostMemory memory_to_take() const;
  int ranks_that_share_it() const;

  RunOptions options_;
  Machine machine_;
  bool full_, adapted_;
  PeftConfig structure_;
  AdapterOptions adapter_options_;
  ModelConfig config_;
  std::unique_ptr<PlacementRule> rule_;
  Arena plan_;
  MemoryPlan memory_;
  bool one_copy_ = false;  // of a frozen weight, for both directions
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace shardora
