#include "runtime/train/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "runtime/comm/agreement.h"
#include "runtime/observe/ranges.h"
#include "runtime/system/printable.h"

namespace shardora {

TrainInputs open_inputs(const RunOptions& options, const Context& context) {
  Communicator& world = *context.grid.world;
  TrainInputs inputs{.packing = {options.train.micro_batch_tokens, options.data.packing}};
  std::string data_fingerprint;
  agree(world, [&] { require_profiler_ranges(options.train.profile_ranges); });
  inputs.files = open_model_files(options, context);
  agree(world, [&] {
    for (const DataSource& source : options.data.train) {
      inputs.train_sets.push_back(open_dataset(source, inputs.files.config, options.data));
      data_fingerprint += inputs.train_sets.back().fingerprint() + fmt::format(":{} ", source.share);
    }
    for (const DataSource& source : options.data.eval) {
      inputs.eval_sets.push_back(open_dataset(source, inputs.files.config, options.data));
    }
    if (options.train.global_batch < context.grid.data.size) {
      refuse(ExitStatus::kUsage,
             "train.global_batch = {} is less than the data-parallel size {}: every rank needs a sequence",
             options.train.global_batch, context.grid.data.size);
    }
  });
  std::string eval_fingerprint;
  for (const Dataset& set : inputs.train_sets) inputs.train_views.push_back(&set);
  for (const Dataset& set : inputs.eval_sets) {
    inputs.eval_views.push_back(&set);
    eval_fingerprint += set.fingerprint() + " ";
  }
  require_agreement(world, {{"model", inputs.files.fingerprint + inputs.files.adapter_fingerprint},
                            {"data.train", data_fingerprint},
                            {"data.eval", eval_fingerprint},
                            {"split", fmt::format("tensor {} of {} ranks", context.grid.tensor.size, world.size())}});
  inputs.identity = run_identity(options, inputs.files.fingerprint, data_fingerprint);
  return inputs;
}

TrainSteps choose_steps(const RunOptions& options, const Context& context, const TrainInputs& inputs) {
  std::optional<TrainSteps> chosen;
  agree(*context.grid.world, [&] {
    std::vector<Sampler::Source> sources;
    for (std::size_t i = 0; i < inputs.train_sets.size(); ++i) {
      sources.push_back({.dataset = &inputs.train_sets[i], .share = options.data.train[i].share});
    }
    Sampler sampler(sources, options.train.global_batch, options.data.shuffle, options.train.seed);
    const std::int64_t steps = options.train.steps > 0 ? options.train.steps : sampler.end_after(options.train.epochs);
    if (options.train.save_best && inputs.eval_sets.empty()) {
      refuse(ExitStatus::kUsage, "train.save_best needs data.eval: there is nothing to compare");
    }
    const auto has_idle = [](const Dataset& set) {
      for (std::int64_t i = 0; i < set.size(); ++i) {
        if (set.target_count(i) == 0) return true;
      }
      return false;
    };
    if (std::any_of(inputs.train_sets.begin(), inputs.train_sets.end(), has_idle)) {
      for (std::int64_t step = 1; step <= steps; ++step) sampler.plan(step);  // refuses a step without targets
    }
    const std::vector<double> epochs = sampler.epochs_in(1);
    for (std::size_t i = 0; i < epochs.size(); ++i) {
      if (epochs[i] <= 1 + 1e-9) continue;
      context.log.warn(fmt::format(
          "a step of train.global_batch = {} holds {:.1f} epochs of the {} sequences of {}: it repeats them; "
          "expected at most one: lower train.global_batch",
          options.train.global_batch, epochs[i], inputs.train_sets[i].size(), printable(options.data.train[i].path)));
    }
    chosen.emplace(steps, std::move(sampler), Schedule(options.train, steps));
  });
  return *std::move(chosen);
}

void fill_last_step(const RunOptions& options, TrainInputs& inputs, TrainSteps& steps) {
  inputs.identity.erase(kLastStep);
  steps.sampler.never_end();
  if (options.train.steps == 0) steps.count = steps.sampler.steps_in(options.train.epochs);
  steps.learning_rate = Schedule(options.train, steps.count);
}

std::unique_ptr<LoadedModel> load_model(const RunOptions& options, const Context& context, TrainInputs& inputs,
                                        const std::string& checkpoint) {
  const bool full = options.adapter.method == AdapterMethod::kFull;
  RunOptions from = options;
  if (!checkpoint.empty()) {
    (full ? from.model.path : from.adapter.path) = checkpoint;
    if (full) from.model.init = "load";
    inputs.files = open_model_files(from, context);
  }
  const ModelUse use = training_plan(inputs.train_views, inputs.eval_views, options.train.global_batch, inputs.packing);
  auto model = std::make_unique<LoadedModel>(from, context, inputs.files, use);
  if (inputs.files.adapter && checkpoint.empty()) {
    const PeftConfig& has = inputs.files.adapter->config;
    context.log.info(fmt::format("starts from {}: {}, rank {}, alpha {:g}, as its adapter_config.json says",
                                 from.adapter.path, has.use_dora ? "dora" : "lora", has.rank, has.alpha));
  }
  return model;
}

}  // namespace shardora
