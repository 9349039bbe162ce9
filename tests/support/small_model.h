// A small random model in memory, as one tensor-parallel group of all test ranks and, beside it, whole on one rank:
// what the group computes must equal what the one computes.
#pragma once

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/comm/dry_run_communicator.h"
#include "runtime/comm/host_staged_communicator.h"
#include "runtime/session/loaded_model.h"
#include "runtime/train/gradients.h"
#include "tests/support/mpi_test.h"

namespace shardora::testing {

// Heads for tensor sizes 1, 2 and 4; 2 KV heads, which four ranks share; a vocabulary that neither 2 nor 4 divides.
inline ModelConfig small_config() {
  ModelConfig config{.model_type = "llama",
                     .hidden_size = 24,
                     .intermediate_size = 37,
                     .num_hidden_layers = 2,
                     .num_attention_heads = 4,
                     .num_key_value_heads = 2,
                     .head_dim = 6,
                     .vocab_size = 53,
                     .max_position_embeddings = 64,
                     .initializer_range = 0.2};
  config.sliding_windows = {0, 5};
  return config;
}

inline RunOptions small_options(AdapterOptions adapter) {
  RunOptions options;
  options.adapter = std::move(adapter);
  options.adapter.rank = options.adapter.rank == 16 ? 3 : options.adapter.rank;
  options.train.seed = 7;
  return options;
}

// Three packed sequences, some of their tokens targets.
inline Batch small_batch() {
  Batch batch;
  batch.offsets = {0};
  for (const int length : {9, 1, 7}) {
    const auto place = static_cast<std::int64_t>(batch.offsets.size());
    for (int i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<std::int32_t>((batch.tokens.size() * 17 + 5) % 53));
      batch.positions.push_back(i);
      batch.sequence_indices.push_back(place);
      if (i + 1 < length && i % 3 != 1) {
        batch.target_rows.push_back(static_cast<std::int32_t>(batch.tokens.size()) - 1);
        batch.targets.push_back(static_cast<std::int32_t>((batch.tokens.size() * 17 + 5) % 53));
      }
    }
    batch.offsets.push_back(static_cast<std::int32_t>(batch.tokens.size()));
  }
  return batch;
}

// SHARDORA_TEST_BACKEND=cuda: the model lives on a device, and groups reduce through host memory.
inline BackendKind tested_backend() {
  const char* const name = std::getenv("SHARDORA_TEST_BACKEND");
  return name != nullptr && std::string(name) == "cuda" ? BackendKind::kCuda : BackendKind::kCpu;
}

// All test ranks as one group for the backend's memory.
class WorldOn {
 public:
  explicit WorldOn(Backend& backend) {
    if (backend.kind() == BackendKind::kCuda) staged_ = std::make_unique<HostStagedCommunicator>(backend, test_world());
  }
  Communicator& group() { return staged_ ? static_cast<Communicator&>(*staged_) : test_world(); }

 private:
  std::unique_ptr<HostStagedCommunicator> staged_;
};

class SmallModel {
 public:
  // `alone`: all of the model on this rank; else cut over all test ranks.
  SmallModel(const RunOptions& options, const ModelConfig& config, bool alone, bool training = true,
             BackendKind kind = tested_backend())
      : backend_(make_backend(kind, {.threads = 1})), log_(0, true), solo_(0, 1), world_(*backend_) {
    Communicator* world = alone ? static_cast<Communicator*>(&solo_) : &test_world();
    Communicator* tensor = alone ? static_cast<Communicator*>(&solo_) : &world_.group();
    grid_ = {.tensor = {tensor->rank(), tensor->size()}, .world = world, .data_group = &solo_, .tensor_group = tensor};
    context_ = std::make_unique<Context>(Context{*backend_, grid_, log_, stop_, ""});
    const Batch batch = small_batch();
    model_ = std::make_unique<LoadedModel>(
        options, *context_, ModelFiles{.folder = {}, .config = config},
        ModelUse{.limits = {.tokens = batch.size(), .sequences = 3}, .positions = 16, .training = training});
  }

  LoadedModel& model() { return *model_; }
  Backend& backend() { return *backend_; }
  const ProcessGrid& grid() const { return grid_; }

  // Moves B away from 0 and m away from the norm, the same logical values at every split.
  void perturb() {
    for_each_parameter([&](std::size_t, const Parameter& parameter, std::vector<float>& logical) {
      const RandomKey key = random_key(11, "perturb", parameter.name);
      for (std::size_t i = 0; i < logical.size(); ++i) {
        const double noise = static_cast<double>(random_bits(key, i) >> 11U) * 0x1p-53 - 0.5;
        if (parameter.kind == ParameterKind::kB) logical[i] = static_cast<float>(0.6 * noise);
        if (parameter.kind == ParameterKind::kMagnitude) logical[i] *= static_cast<float>(1 + 0.6 * noise);
      }
    });
    changed();
  }
  void changed() {
    if (model_->adapter()) model_->adapter()->parameters_changed();
    model_->refresh_norms();
  }

  // One step's loss and finished, reduced gradients.
  double run(std::int64_t step = 1) {
    const Batch batch = small_batch();
    backend_->zero(model_->parameters().gradients());
    const double loss = loss_only(step, true);
    model_->finish_gradients();
    GradientSums(*backend_, grid_, model_->parameters()).finish();
    return loss;
  }
  double loss_only(std::int64_t step = 1, bool gradients = false) {
    const Batch batch = small_batch();
    const Activations& activations = model_->activations();
    backend_->zero(activations.loss);
    const DeviceBatch device = model_->decoder().upload(batch, activations);
    const Pass pass = model_->pass(device, step, true);
    const float scale = 1.0F / static_cast<float>(batch.targets.size());
    model_->decoder().forward(pass, activations, {.gradient_scale = scale, .gradients = gradients});
    if (gradients) model_->decoder().backward(pass, activations);
    double sums[2] = {0, 0};
    backend_->copy_to_host(view_of(std::span<double>(sums), {2}), activations.loss);
    backend_->synchronize();
    return sums[0] / static_cast<double>(batch.targets.size());
  }

  // Logical tensors on every rank that asks: values or gradients by name.
  std::map<std::string, std::vector<float>> gather(bool gradients) {
    std::map<std::string, std::vector<float>> all;
    ParameterSet& set = model_->parameters();
    for (std::size_t i = 0; i < set.all().size(); ++i) {
      HostTensor logical = gather_logical(*backend_, *grid_.tensor_group, model_->rule(), set.all()[i],
                                          gradients ? set.gradient(i) : set.value(i));
      if (grid_.tensor.rank == 0) all[set.all()[i].name] = {logical.f32().begin(), logical.f32().end()};
    }
    return all;
  }

  // Sets values from logical ones computed by `change` from the current ones.
  template <class Change>
  void for_each_parameter(const Change& change) {
    ParameterSet& set = model_->parameters();
    for (std::size_t i = 0; i < set.all().size(); ++i) {
      const Parameter& parameter = set.all()[i];
      HostTensor host = gather_logical(*backend_, *grid_.tensor_group, model_->rule(), parameter, set.value(i));
      std::int64_t elements = 1;
      for (const std::int64_t size : parameter.logical_shape) elements *= size;
      std::vector<float> logical(static_cast<std::size_t>(elements));
      if (grid_.tensor.rank == 0) std::copy_n(host.f32().begin(), logical.size(), logical.begin());
      grid_.tensor_group->host().broadcast(view_of(std::span(logical), {elements}), 0, {});
      change(i, parameter, logical);
      scatter_logical(*backend_, parameter, logical, set.value(i));
    }
  }

 private:
  std::unique_ptr<Backend> backend_;
  Log log_;
  DryRunCommunicator solo_;
  WorldOn world_;
  std::atomic<bool> stop_ = false;
  ProcessGrid grid_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<LoadedModel> model_;
};

inline double norm_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

// Largest ||a - b|| / ||b|| over tensors of equal names; 1e9 where names differ.
inline double worst_difference(const std::map<std::string, std::vector<float>>& a,
                               const std::map<std::string, std::vector<float>>& b) {
  double worst = a.size() == b.size() ? 0 : 1e9;
  for (const auto& [name, right] : b) {
    if (!a.contains(name) || a.at(name).size() != right.size()) return 1e9;
    std::vector<float> difference = a.at(name);
    for (std::size_t i = 0; i < difference.size(); ++i) difference[i] -= right[i];
    worst = std::max(worst, norm_of(difference) / std::max(norm_of(right), 1e-30));
  }
  return worst;
}

}  // namespace shardora::testing
