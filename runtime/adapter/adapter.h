// An adapter over a decoder's linear layers: DoRA or LoRA. It owns which modules train and their norms and gains; the
// values, gradients and moments live in the ParameterSet. Source: arXiv 2402.09353.
//
// Norms are computed once per optimizer step, for all modules together, without building B*A (kernels/dora.h,
// LowRankNorm), and every part that is a sum over a cut dimension goes into one all-reduce over the tensor group:
//
//   magnitude axis   column-parallel layer          row-parallel layer
//   output           local (W's rows are whole)     sum of parts
//   input            sum of parts                   local
//
// KV heads that ranks share: their norms are summed too, each head given by its owner, so that all ranks hold all rows.
#pragma once

#include <string>
#include <vector>

#include "runtime/formats/peft_adapter.h"
#include "runtime/memory/arena.h"
#include "runtime/model/decoder.h"
#include "runtime/options.h"

namespace shardora {

// One adapted linear layer.
struct AdaptedModule {
  DoraLinear* linear = nullptr;  // not owned
  std::int64_t layer = 0;
  std::int64_t rank = 0;
  double alpha = 0;
  std::size_t a = 0, b = 0, m = 0;            // indices into the ParameterSet; m for DoRA only
  Range used;                                 // rows of the stored magnitude that this rank computes with
  bool reduced = false;                       // its norm is a sum over the tensor group
  bool owner = true;                          // this rank speaks for its rows in sums over weights
  bool partial_h = false;                     // h is a sum over the tensor group
  TensorView factor_a, factor_b;              // A and B in fp32, the rows that this rank computes with
  TensorView squared_weight;                  // w of the used range
  TensorView squared, reference, norm, gain;  // of the stored range
  LinearAdapter view;                         // what the linear layer sees
};

class Adapter {
 public:
  // Chooses the modules; throws Error(kUsage) where a target matches nothing.
  // `structure`: which modules, ranks and alphas (to_peft_config(options), or an existing adapter's).
  Adapter(Backend& backend, Decoder& decoder, int tensor_rank, const AdapterOptions& options,
          const PeftConfig& structure, std::uint64_t seed);
  Adapter(const Adapter&) = delete;  // the linear layers point into it
  Adapter& operator=(const Adapter&) = delete;

  // Declares A, B and m of every module; then, once the set is laid out, connects the layers with it.
  void declare(ParameterSet& parameters);
  void connect(ParameterSet& parameters, Arena& arena);

  // A uniform, B zero, m the norm of the weights as loaded. Collective over the tensor group.
  void initialise(Communicator& tensor_group, Arena& scratch);
  // Values of a PEFT adapter whose configuration this adapter was made from; m may be absent there for LoRA only.
  void load(const TensorMap& tensors);
  // Values of A, B or m have changed: norms are stale until refreshed.
  void parameters_changed() { ++version_.parameters; }
  // All norms and gains, one all-reduce (and a second, small one where rows nearly cancel). Collective.
  void refresh_norms(Communicator& tensor_group, Arena& scratch);
  // Whether backward finishes a layer's gradients: no term waits for those of all layers, or of other ranks.
  bool finishes_by_layer() const { return !has_magnitude() || options_.norm_gradient == NormGradient::kDetached; }
  // What finish_gradients() does, for one layer.
  void finish_layer(std::int64_t layer);
  // Turns what the micro-batches left in the gradient buffers into dA, dB, dm: the exact norm gradient where asked,
  // then dm = h / n. Before any sum over data ranks. Collective over the tensor group.
  void finish_gradients(Communicator& tensor_group, Arena& scratch);

  const std::vector<AdaptedModule>& modules() const { return modules_; }
  bool has_magnitude() const { return options_.method == AdapterMethod::kDora; }

 private:
  void connect_placement(AdaptedModule& module, const Placement& m, const Placement& b) const;
  void take_norms(Arena& arena);
  void bind_views(AdaptedModule& module);
  void measure_weight(const AdaptedModule& module) const;
  void norm_parts(const AdaptedModule& module, Arena& scratch) const;
  void repair_cancelling(Communicator& tensor_group, Arena& scratch);
  void direct_norms(const AdaptedModule& module, std::span<const std::int32_t> stored, std::span<double> out,
                    Arena& scratch) const;
  void add_exact_gradient(const AdaptedModule& module, Arena& scratch) const;
  void exact_output(const AdaptedModule& module, TensorView c, Arena& scratch) const;
  void exact_input(const AdaptedModule& module, TensorView c, Arena& scratch) const;
  void sum_partial_h(Communicator& tensor_group, Arena& scratch);
  bool h_is_summed(const AdaptedModule& module) const;

  TensorView h_of(const AdaptedModule& module) const { return parameters_->gradient(module.m); }

  Backend& backend_;
  int tensor_rank_;
  AdapterOptions options_;
  std::uint64_t seed_;
  const PlacementRule& rule_;                       // not owned
  const std::vector<NamedShape>& logical_tensors_;  // not owned
  ParameterSet* parameters_ = nullptr;              // not owned
  std::vector<AdaptedModule> modules_;
  AdapterVersion version_{.parameters = 1, .norms = 0};
  TensorView squares_, reduced_squares_;  // squared and reference of all modules; the summed ones first
  // repair_cancelling()'s own: squares_ on the host, and of each module the places that cancel.
  std::vector<float> host_squares_;
  std::vector<std::vector<std::int32_t>> cancelling_;
};

// The adapter as PEFT writes it. Collective over the tensor group; complete on tensor rank 0 only.
PeftAdapter export_adapter(Backend& backend, Communicator& tensor_group, const PlacementRule& rule,
                           const ParameterSet& parameters, const PeftConfig& config);

// What `train` builds from these options, in PEFT's words.
PeftConfig to_peft_config(const AdapterOptions& options);
// The other way round, for an existing adapter: its structure (method, rank, alpha, axis, …), with the training options
// kept. Throws Error(kMismatch) with both values where an option was set to something else than the adapter has.
AdapterOptions options_of(const PeftConfig& config, const AdapterOptions& asked);

}  // namespace shardora
