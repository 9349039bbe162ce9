// What a run leaves behind: checkpoints on the way, the adapter (or model) and its summary at the end.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/io/files.h"
#include "runtime/io/json.h"
#include "runtime/io/model_writer.h"
#include "runtime/train/summary.h"
#include "runtime/train/trainer.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

void require_finite(const TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors) {
    for (const float value : const_cast<HostTensor&>(tensor).f32()) {
      if (!std::isfinite(value)) {
        refuse(ExitStatus::kNotFinite, "tensor {} is not finite: nothing was saved; resume from the last checkpoint",
               name);
      }
    }
  }
}

void write_adapter_folder(const fs::path& folder, const PeftAdapter& adapter) {
  const fs::path temporary = folder.string() + ".tmp";
  remove_tree(temporary);
  make_folders(temporary);
  write_peft_adapter(temporary, adapter);
  remove_tree(folder);
  rename_path(temporary, folder);
}

}  // namespace

// The values that train, gathered to rank 0: an adapter, or under full every tensor of the model.
void Trainer::gather_values(PeftAdapter& adapter, TensorMap& model) {
  Communicator& tensor_group = *machine_.grid.tensor_group;
  const ParameterSet& parameters = instance_->parameters();
  if (machine_.grid.data.rank != 0) return;
  if (instance_->adapter()) {
    adapter = export_adapter(machine_.backend, tensor_group, instance_->rule(), parameters, instance_->structure());
    return;
  }
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    HostTensor logical =
        gather_logical(machine_.backend, tensor_group, instance_->rule(), parameters.all()[i], parameters.value(i));
    if (writes()) model.emplace(parameters.all()[i].name, std::move(logical));
  }
}

void Trainer::write_values(const fs::path& folder, PeftAdapter& adapter, TensorMap& model) {
  if (instance_->adapter()) {
    require_finite(adapter.tensors);
    return write_adapter_folder(folder / "adapter", adapter);
  }
  require_finite(model);
  const std::vector<NamedShape>& tensors = instance_->decoder().tensors();
  write_model_folder(
      folder / "model",
      {.base = options_.model.path, .layout = make_layout(tensors, "F32"), .tensors = tensors, .dtype = "F32"},
      [&](const NamedShape& tensor, const Sink& sink) { sink(model.at(tensor.name).bytes); });
}

void Trainer::save(std::int64_t step) {
  if (saved_step_ == step) return;
  const double begin = monotonic_seconds();
  machine_.grid.world->at(fmt::format("saving step {}", step));
  check_memory(step);
  PeftAdapter adapter;
  TensorMap model, state;
  gather_values(adapter, model);
  if (machine_.grid.data.rank == 0) {
    state = gather_state(machine_.backend, *machine_.grid.tensor_group, instance_->rule(), instance_->parameters(),
                         initial_magnitudes_);
  }
  agree(*machine_.grid.world, [&] {
    if (!writes()) return;
    metrics_.sync();  // lines up to this step must not be lost where the checkpoint is not
    const ProcessGrid& grid = machine_.grid;
    const Manifest manifest{.step = step,
                            .world = fmt::format("{} ranks, tensor {}", grid.world->size(), grid.tensor.size),
                            .configuration_json = to_json(identity_),
                            .threads = options_.parallel.threads,
                            .instruction_set = machine_.backend.instruction_set()};
    checkpoints_->save(manifest, [&](const fs::path& folder) {
      write_values(folder, adapter, model);
      write_state(folder / "state.safetensors", state, counters_);
    });
    std::vector<fs::path> pinned;
    if (!resume_from_.empty()) pinned.emplace_back(resume_from_);
    if (options_.train.save_best && counters_.best_step > 0) {
      pinned.push_back(folder_->dir() / "checkpoints" / fmt::format("step-{}", counters_.best_step));
    }
    checkpoints_->prune(pinned);
  });
  saved_step_ = step;
  last_save_ = monotonic_seconds();
  save_seconds_ = last_save_ - begin;
}

TrainSummary Trainer::finish(std::int64_t step, bool stopped_early) {
  TrainSummary summary{
      .steps = step,
      .loss = last_loss_,
      .seconds = monotonic_seconds() - started_,
      .tokens_per_second = trained_seconds_ > 0 ? static_cast<double>(trained_tokens_) / trained_seconds_ : 0,
      .trained_parameters = instance_->parameters().logical_elements(),
      .stopped_early = stopped_early};
  for (const NamedShape& tensor : instance_->decoder().tensors()) {
    summary.total_parameters += Shape(tensor.shape).elements();
  }
  const fs::path output = fs::path(options_.output.dir) / (instance_->adapter() ? "adapter" : "model");
  summary.output = output.string();
  if (stopped_early) {
    agree(*machine_.grid.world, [&] {
      if (writes()) folder_->write_exit(ExitStatus::kStoppedEarly, "stopped by a signal or a time limit", step);
    });
    return summary;
  }
  say_speed();
  say_peak();  // saving and the last evaluation come after: they have memory of their own
  evaluate_all(step);
  summary.evaluations = evaluations_;
  if (options_.output.checkpoint_every != 0) save(step);
  machine_.grid.world->at("writing the result");
  check_memory(step);
  PeftAdapter adapter;
  TensorMap model;
  gather_values(adapter, model);
  agree(*machine_.grid.world, [&] {
    if (!writes()) return;
    write_values(options_.output.dir, adapter, model);
    if (options_.train.save_best && counters_.best_step > 0 && counters_.best_step < step) take_best(output);
    replace_file(folder_->dir() / "result.json", summary_text(summary) + "\n");
    folder_->write_exit(ExitStatus::kDone, "done", step);
  });
  return summary;
}

void Trainer::say_speed() {
  if (trained_seconds_ <= 0) return;  // nothing was left to do
  const double of_a_rank = flops_per_second_of_a_rank(trained_flops_, trained_seconds_);
  const std::optional<double> share = utilisation(of_a_rank);
  machine_.log.info(
      fmt::format("{:.0f} tokens/s, {:.4g} TFLOP/s of the model's work a rank{}",
                  static_cast<double>(trained_tokens_) / trained_seconds_, of_a_rank * 1e-12,
                  share ? fmt::format(", {:.1f} % of the device's peak for bfloat16", 100 * *share) : std::string()));
}

// What the table at the start said, and what the steps took.
void Trainer::say_peak() {
  constexpr double kMiB = 1 << 20;
  Communicator& world = *machine_.grid.world;
  const std::int64_t measured = world.all_reduce(instance_->used_bytes(), Reduction::kMax);
  const std::int64_t expected = world.all_reduce(instance_->memory().peak_bytes(), Reduction::kMax);
  machine_.log.info(fmt::format("peak memory of a rank: {:.1f} MiB; expected before the first step: {:.1f} MiB",
                                static_cast<double>(measured) / kMiB, static_cast<double>(expected) / kMiB));
}

// The best evaluation was an earlier one: its checkpoint's adapter (or model) takes the place of the last step's.
void Trainer::take_best(const fs::path& output) {
  const fs::path best =
      folder_->dir() / "checkpoints" / fmt::format("step-{}", counters_.best_step) / output.filename();
  remove_tree(output);
  make_folders(output);
  for (const fs::directory_entry& entry : fs::directory_iterator(best)) {
    copy_file_synced(entry.path(), output / entry.path().filename());
  }
  sync_folder(output);
  machine_.log.info(fmt::format("{} is of step {}, the best by evaluation loss {:.6g}", output.string(),
                                counters_.best_step, counters_.best_loss));
}

// A run that went to its end says its result again.
std::optional<TrainSummary> Trainer::finished_before() {
  const fs::path result = folder_->dir() / "result.json";
  if (options_.output.resume == "never" || !fs::exists(result)) return std::nullopt;
  TrainSummary summary = summary_from(read_text(result));
  if (summary.steps < steps_ && options_.train.early_stopping == 0) return std::nullopt;
  machine_.log.info(
      fmt::format("{} is finished: nothing to do (output.overwrite = true starts anew)", options_.output.dir));
  return summary;
}

}  // namespace shardora
