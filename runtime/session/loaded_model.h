// A model made ready to run on this rank: decoder, adapter, parameters and activations in one planned arena. What
// train, eval and generate have in common.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "runtime/session/context.h"
#include "runtime/session/model_spec.h"

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
// Collective over the world: AgreedError naming the file. A checkpoint folder is taken for the adapter (or, under full,
// the model) in it. What of model and adapter is not used as it stands is said in the log.
ModelFiles open_model_files(const RunOptions& options, const Context& context);

class LoadedModel {
 public:
  // The context is not owned. Plans memory, then reads the weights; the adapter, if there is one, is loaded from
  // files.adapter or, where there is none, initialised. Collective over the tensor group. Throws AgreedError on all
  // ranks of the world where one fails; where memory is not enough (kOutOfMemory) before any weight is read.
  LoadedModel(const RunOptions& options, const Context& context, const ModelFiles& files, const ModelUse& plan);
  ~LoadedModel();

  Decoder& decoder() { return *parts_->decoder; }
  Adapter* adapter() { return parts_->adapter.get(); }  // null: method full, or a bare model
  ParameterSet& parameters() { return parts_->parameters; }
  const Activations& activations() const { return parts_->activations; }
  const PeftConfig& structure() const { return spec_->structure(); }
  Arena& arena() { return *arena_; }
  const Arena& plan() const { return plan_; }  // the dry run's: bytes by segment
  const MemoryPlan& memory() const { return memory_; }
  const PlacementRule& rule() const { return spec_->rule(); }

  DType activation_dtype() const { return spec_->activation_dtype(); }
  std::string weights_text() const { return spec_->weights_text(); }
  // What this rank holds where it computes: of the device, all that is taken there now; of the host, its peak.
  std::int64_t used_bytes() const;

  // Of a batch that outlives it.
  Pass pass(const DeviceBatch& batch, std::int64_t step, bool training);
  void refresh_norms();
  void finish_gradients();

 private:
  void dry_run();
  void choose_copies();
  bool on_device() const { return spec_->on_device(); }
  HostMemory memory_to_take() const;
  int ranks_that_share_it() const;

  const Context& context_;
  bool profile_ranges_;
  std::unique_ptr<ModelSpec> spec_;
  Arena plan_;
  MemoryPlan memory_;
  std::vector<AttentionPlan> attention_;  // to be made ready for
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<BuiltModel> parts_;
};

}  // namespace shardora
