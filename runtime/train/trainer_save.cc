// What a run leaves behind: checkpoints on the way, the adapter (or model) and its summary at the end.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/formats/model_writer.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"
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
  write_peft_adapter(temporary, adapter);
  sync_folder(temporary);
  remove_tree(folder);
  rename_path(temporary, folder);
}

}  // namespace

Trainer::Values Trainer::gather_values() {
  Values values;
  Communicator& tensor_group = *context_.grid.tensor_group;
  const ParameterSet& parameters = model_->parameters();
  if (context_.grid.data.rank != 0) return values;
  if (model_->adapter()) {
    values.adapter = export_adapter(context_.backend, tensor_group, model_->rule(), parameters, model_->structure());
    return values;
  }
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    HostTensor logical =
        gather_logical(context_.backend, tensor_group, model_->rule(), parameters.all()[i], parameters.value(i));
    if (writes()) values.model.emplace(parameters.all()[i].name, std::move(logical));
  }
  return values;
}

void Trainer::write_values(const fs::path& folder, Values& values) {
  if (model_->adapter()) {
    require_finite(values.adapter.tensors);
    return write_adapter_folder(folder / "adapter", values.adapter);
  }
  require_finite(values.model);
  const std::vector<NamedShape>& tensors = model_->decoder().tensors();
  write_model_folder(
      folder / "model",
      {.base = options_.model.path, .layout = make_layout(tensors, "F32"), .tensors = tensors, .dtype = "F32"},
      [&](const NamedShape& tensor, const Sink& sink) { sink(values.model.at(tensor.name).bytes); });
}

Trainer::Snapshot Trainer::gather_snapshot() {
  Snapshot snapshot{.values = gather_values(), .state = {}, .counters = counters_};
  if (context_.grid.data.rank == 0) {
    snapshot.state = gather_state(context_.backend, *context_.grid.tensor_group, model_->rule(), model_->parameters(),
                                  initial_magnitudes_);
  }
  return snapshot;
}

// The peers have nothing left to fail in once all is on rank 0's host; from here on only rank 0 can, and by
// output.background_save a thread of its own, which calls no MPI.
void Trainer::save(std::int64_t step) {
  if (saved_step_ == step) return;
  wait_for_save();
  const double begin = monotonic_seconds();
  context_.set_activity(fmt::format("saving step {}", step));
  check_memory(step);
  const auto snapshot = std::make_shared<Snapshot>(gather_snapshot());
  const auto write = [this, snapshot, begin] {
    commit(*snapshot);
    return monotonic_seconds() - begin;
  };
  if (options_.output.background_save) {
    if (writes()) writing_.start(write);
  } else {
    agree(*context_.grid.world, [&] {
      if (writes()) save_seconds_ = write();
    });
  }
  saved_step_ = step;
  last_save_ = monotonic_seconds();
}

// Of a save in the background that has ended: an error of it ends the run at this step on all ranks.
void Trainer::collect_save() {
  if (!options_.output.background_save) return;
  if (context_.grid.world->all_reduce(std::int64_t{writing_.ended()}, Reduction::kMax) > 0) wait_for_save();
}

void Trainer::wait_for_save() {
  if (!options_.output.background_save) return;
  agree(*context_.grid.world, [&] {
    if (!writing_.pending()) return;
    save_seconds_ = writing_.wait([this] { context_.set_activity("waiting for the last save to end"); });
  });
}

// Rank 0: the checkpoint, whole, and only then what it makes superfluous.
void Trainer::commit(Snapshot& snapshot) {
  folder_->require_held();
  metrics_.sync();  // lines up to this step must not be lost where the checkpoint is not
  const ProcessGrid& grid = context_.grid;
  const Counters& counters = snapshot.counters;
  const Manifest manifest{.step = counters.step,
                          .world = fmt::format("{} ranks, tensor {}", grid.world->size(), grid.tensor.size),
                          .configuration_json = to_json(identity_),
                          .threads = options_.parallel.threads,
                          .instruction_set = context_.backend.instruction_set()};
  checkpoints_->save(manifest, [&](const fs::path& folder) {
    write_values(folder, snapshot.values);
    write_state(folder / "state.safetensors", snapshot.state, counters);
  });
  std::vector<fs::path> pinned{checkpoints_->path_of(counters.step)};  // older than others where an older was resumed
  if (!resume_from_.empty()) pinned.emplace_back(resume_from_);
  if (options_.train.save_best && counters.best_step > 0) pinned.push_back(checkpoints_->path_of(counters.best_step));
  checkpoints_->prune(pinned);
}

TrainSummary Trainer::finish(std::int64_t step, Stop stopped) {
  TrainSummary summary{
      .steps = step,
      .loss = last_loss_,
      .seconds = monotonic_seconds() - started_,
      .tokens_per_second = trained_seconds_ > 0 ? static_cast<double>(trained_tokens_) / trained_seconds_ : 0,
      .trained_parameters = model_->parameters().logical_elements(),
      .stopped_early = stopped != Stop::kNo};
  for (const NamedShape& tensor : model_->decoder().tensors()) {
    summary.total_parameters += Shape(tensor.shape).elements();
  }
  wait_for_save();
  if (stopped != Stop::kNo) {
    const char* const reason = stopped == Stop::kSignal ? "signal" : "time limit";
    agree(*context_.grid.world, [&] {
      if (!writes()) return;
      write_exit(folder_->dir(), ExitStatus::kStoppedEarly, reason, step);
      if (is_there(checkpoints_->path_of(step))) summary.output = checkpoints_->path_of(step).string();
    });
    context_.log.info(fmt::format("stopped early by a {} after step {}{}: the same command continues", reason, step,
                                  summary.output.empty() ? "" : ", saved in " + printable(summary.output)));
    return summary;
  }
  const fs::path output = fs::path(options_.output.dir) / (model_->adapter() ? "adapter" : "model");
  summary.output = output.string();
  say_speed();
  say_peak();  // saving and the last evaluation come after: they have memory of their own
  evaluate_all(step);
  summary.evaluations = evaluations_;
  if (options_.output.checkpoint_every != 0) save(step);
  wait_for_save();
  context_.set_activity("writing the result");
  check_memory(step);
  Values values = gather_values();
  agree(*context_.grid.world, [&] {
    if (!writes()) return;
    folder_->require_held();
    write_values(folder_->dir(), values);
    if (options_.train.save_best && counters_.best_step > 0 && counters_.best_step < step) take_best(output);
    replace_file(folder_->dir() / "result.json", to_json(summary).dump() + "\n");
    write_exit(folder_->dir(), ExitStatus::kDone, "done", step);
  });
  context_.log.info(fmt::format("written to {}", printable(summary.output)));
  return summary;
}

void Trainer::say_speed() {
  if (trained_seconds_ <= 0) return;  // nothing was left to do
  const double of_a_rank = flops_per_second_of_a_rank(trained_flops_, trained_seconds_);
  const std::optional<double> share = utilisation(of_a_rank);
  context_.log.info(
      fmt::format("{:.0f} tokens/s, {:.4g} TFLOP/s of the model's work a rank{}",
                  static_cast<double>(trained_tokens_) / trained_seconds_, of_a_rank * 1e-12,
                  share ? fmt::format(", {:.1f} % of the device's peak for bfloat16", 100 * *share) : std::string()));
}

// What the table at the start said, and what the steps took.
void Trainer::say_peak() {
  constexpr double kMiB = 1 << 20;
  Communicator& world = *context_.grid.world;
  const std::int64_t measured = world.all_reduce(model_->used_bytes(), Reduction::kMax);
  const std::int64_t expected = world.all_reduce(model_->memory().peak_bytes(), Reduction::kMax);
  context_.log.info(fmt::format("peak memory of a rank: {:.1f} MiB; expected before the first step: {:.1f} MiB",
                                static_cast<double>(measured) / kMiB, static_cast<double>(expected) / kMiB));
}

// The best evaluation was an earlier one: its checkpoint's adapter (or model) takes the place of the last step's.
void Trainer::take_best(const fs::path& output) {
  const fs::path best = Checkpoints::open(checkpoints_->path_of(counters_.best_step)).path / output.filename();
  remove_tree(output);
  make_folder_in(output);
  for (const fs::directory_entry& entry : entries_in(best)) {
    copy_file_synced(entry.path(), output / entry.path().filename());
  }
  sync_folder(output);
  context_.log.info(fmt::format("{} is of step {}, the best by evaluation loss {:.6g}", output.string(),
                                counters_.best_step, counters_.best_loss));
}

// A run that went to its end says its result again.
std::optional<TrainSummary> Trainer::finished_before() {
  const fs::path result = folder_->dir() / "result.json";
  if (options_.output.resume == "never" || !is_there(result)) return std::nullopt;
  TrainSummary summary = summary_from(read_text(result));
  if (summary.steps < steps_ && options_.train.early_stopping == 0) return std::nullopt;
  return summary;
}

}  // namespace shardora
