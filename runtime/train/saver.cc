#include "runtime/train/saver.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/formats/model_writer.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr double kAutomaticSaveSeconds = 600;

// What is saved, on rank 0's host: complete there, empty elsewhere. It refers to no model: the thread that writes it
// may outlive one.
struct Snapshot {
  bool full = false;
  PeftAdapter adapter;
  TensorMap model;  // full: in place of an adapter
  std::vector<NamedShape> tensors;
  TensorMap state;  // of a checkpoint
  Counters counters;
};

Snapshot gather_values(const Context& context, LoadedModel& model) {
  Snapshot values{.full = model.adapter() == nullptr};
  Communicator& tensor_group = *context.grid.tensor_group;
  const ParameterSet& parameters = model.parameters();
  if (context.grid.data.rank != 0) return values;
  if (!values.full) {
    values.adapter = export_adapter(context.backend, tensor_group, model.rule(), parameters, model.structure());
    return values;
  }
  values.tensors = model.decoder().tensors();
  for (std::size_t i = 0; i < parameters.all().size(); ++i) {
    HostTensor logical =
        gather_logical(context.backend, tensor_group, model.rule(), parameters.all()[i], parameters.value(i));
    if (context.grid.world->rank() == 0) values.model.emplace(parameters.all()[i].name, std::move(logical));
  }
  return values;
}

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

void write_values(const fs::path& folder, const Snapshot& values, const std::string& base) {
  if (!values.full) {
    require_finite(values.adapter.tensors);
    return write_adapter_folder(folder / "adapter", values.adapter);
  }
  require_finite(values.model);
  write_model_folder(
      folder / "model",
      {.base = base, .layout = make_layout(values.tensors, "F32"), .tensors = values.tensors, .dtype = "F32"},
      [&](const NamedShape& tensor, const Sink& sink) { sink(values.model.at(tensor.name).bytes); });
}

// The checkpoint, whole, and only then what it makes superfluous.
void commit(const RunOptions& options, const Context& context, RunOutput& output, const Snapshot& snapshot) {
  output.folder().require_held();
  output.metrics().sync();  // lines up to this step must not be lost where the checkpoint is not
  const Counters& counters = snapshot.counters;
  const ProcessGrid& grid = context.grid;
  const Manifest manifest{.step = counters.step,
                          .world = fmt::format("{} ranks, tensor {}", grid.world->size(), grid.tensor.size),
                          .configuration_json = to_json(output.identity()),
                          .threads = options.parallel.threads,
                          .instruction_set = context.backend.instruction_set()};
  Checkpoints& checkpoints = output.checkpoints();
  checkpoints.save(manifest, [&](const fs::path& folder) {
    write_values(folder, snapshot, options.model.path);
    write_state(folder / "state.safetensors", snapshot.state, counters);
  });
  std::vector<fs::path> pinned{checkpoints.path_of(counters.step)};  // older than others where an older was resumed
  if (!output.checkpoint().empty()) pinned.emplace_back(output.checkpoint());
  if (options.train.save_best && counters.best_step > 0) pinned.push_back(checkpoints.path_of(counters.best_step));
  checkpoints.prune(pinned);
}

// The best evaluation was an earlier one: its checkpoint's adapter (or model) takes the place of the last step's.
void promote_best_checkpoint(const fs::path& checkpoint, const fs::path& output) {
  const fs::path best = Checkpoints::open(checkpoint).path / output.filename();
  remove_tree(output);
  make_folder_in(output);
  for (const fs::directory_entry& entry : entries_in(best)) {
    copy_file_synced(entry.path(), output / entry.path().filename());
  }
  sync_folder(output);
}

}  // namespace

Saver::Saver(const Parts& parts)
    : parts_(parts),
      last_save_(monotonic_seconds()),
      saved_step_(parts.output.resumes_own_checkpoint() ? parts.counters.step : -1) {}

bool Saver::is_due() {
  const std::int64_t every = parts_.options.output.checkpoint_every;
  bool due = every > 0 && parts_.counters.step % every == 0;
  Communicator& world = *parts_.context.grid.world;
  if (world.rank() == 0 && every < 0 && monotonic_seconds() - last_save_ > kAutomaticSaveSeconds) due = true;
  return world.all_reduce(due ? 1.0 : 0.0, Reduction::kMax) > 0;
}

// The peers have nothing left to fail in once all is on rank 0's host; from here on only rank 0 can.
void Saver::save() {
  const auto& [options, context, model, initial, counters, guards, output] = parts_;
  if (saved_step_ == counters.step) return;
  wait();
  const double begin = monotonic_seconds();
  Communicator& world = *context.grid.world;
  context.set_activity(fmt::format("saving step {}", counters.step));
  guards.check(counters.step);
  const auto snapshot = std::make_shared<Snapshot>(gather_values(context, model));
  snapshot->counters = counters;
  if (context.grid.data.rank == 0) {
    snapshot->state =
        gather_state(context.backend, *context.grid.tensor_group, model.rule(), model.parameters(), initial);
  }
  const auto write = [&options = options, &context = context, &output = output, snapshot, begin] {
    commit(options, context, output, *snapshot);
    return monotonic_seconds() - begin;
  };
  if (options.output.background_save) {
    if (world.rank() == 0) output.background().start(write);
  } else {
    agree(world, [&] {
      if (world.rank() == 0) seconds_ = write();
    });
  }
  saved_step_ = counters.step;
  last_save_ = monotonic_seconds();
}

void Saver::collect() {
  if (!parts_.options.output.background_save) return;
  const std::int64_t ended = parts_.output.background().ended() ? 1 : 0;
  if (parts_.context.grid.world->all_reduce(ended, Reduction::kMax) > 0) wait();
}

void Saver::wait() {
  if (!parts_.options.output.background_save) return;
  Communicator& world = *parts_.context.grid.world;
  agree(world, [&] {
    BackgroundWrite& writing = parts_.output.background();
    if (writing.pending())
      seconds_ = writing.wait([&] { parts_.context.set_activity("waiting for the last save to end"); });
  });
}

TrainSummary Saver::stop_early(TrainSummary summary, const char* reason) {
  const auto& [options, context, model, initial, counters, guards, output] = parts_;
  summary.stopped_early = true;
  agree(*context.grid.world, [&] {
    if (context.grid.world->rank() != 0) return;
    write_exit(output.folder().dir(), ExitStatus::kStoppedEarly, reason, counters.step);
    const fs::path checkpoint = output.checkpoints().path_of(counters.step);
    if (is_there(checkpoint)) summary.output = checkpoint.string();
  });
  context.log.info(fmt::format("stopped early by a {} after step {}{}: the same command continues", reason,
                               counters.step, summary.output.empty() ? "" : ", saved in " + printable(summary.output)));
  return summary;
}

TrainSummary Saver::finish(TrainSummary summary) {
  const auto& [options, context, model, initial, counters, guards, output] = parts_;
  Communicator& world = *context.grid.world;
  context.set_activity("writing the result");
  guards.check(counters.step);
  const Snapshot values = gather_values(context, model);
  summary.output = (fs::path(options.output.dir) / (values.full ? "model" : "adapter")).string();
  agree(world, [&] {
    if (world.rank() != 0) return;
    RunFolder& folder = output.folder();
    folder.require_held();
    write_values(folder.dir(), values, options.model.path);
    if (options.train.save_best && counters.best_step > 0 && counters.best_step < counters.step) {
      promote_best_checkpoint(output.checkpoints().path_of(counters.best_step), summary.output);
      context.log.info(fmt::format("{} is of step {}, the best by evaluation loss {:.6g}", summary.output,
                                   counters.best_step, counters.best_loss));
    }
    replace_file(folder.dir() / "result.json", to_json(summary).dump() + "\n");
    write_exit(folder.dir(), ExitStatus::kDone, "done", counters.step);
  });
  context.log.info(fmt::format("written to {}", printable(summary.output)));
  return summary;
}

}  // namespace shardora
