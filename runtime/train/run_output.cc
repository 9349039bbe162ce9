#include "runtime/train/run_output.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {

namespace fs = std::filesystem;

RunOutput::RunOutput(const RunOptions& options, const Context& context, TrainInputs& inputs, TrainSteps& steps)
    : options_(options),
      context_(context),
      identity_(inputs.identity),
      done_steps_(std::make_shared<std::atomic<std::int64_t>>(0)) {
  Chosen chosen;
  agree(*context.grid.world, [&] {
    if (writes()) chosen = claim(inputs, steps);
  });
  try {
    tell_all_ranks(chosen, inputs, steps);
  } catch (...) {
    record_failure();
    throw;
  }
  record_a_lost_peer();
}

RunOutput::~RunOutput() {
  if (context_.watchdog != nullptr) context_.watchdog->before_end({});
}

// Rank 0: the lock, then what an earlier start has left.
RunOutput::Chosen RunOutput::claim(TrainInputs& inputs, TrainSteps& steps) {
  folder_ = std::make_unique<RunFolder>(options_.output.dir, options_.output.overwrite);
  for (const std::string& name : folder_->removed()) context_.log.warn("output.overwrite: removed " + name);
  context_.log.to_file(folder_->dir() / "logs" / "rank-0.log");
  if (!can_sync(folder_->dir())) {
    context_.log.warn(
        fmt::format("output.dir {}: its file system knows no fsync: what was saved last may be lost "
                    "where the host crashes, not where a process does",
                    options_.output.dir));
  }
  checkpoints_ = std::make_unique<Checkpoints>(folder_->dir(), options_.output.keep);
  checkpoints_->remove_unfinished();
  earlier_ = earlier_result(steps.count);
  const std::string& resume = options_.output.resume;
  std::optional<Checkpoints::Found> found;
  if (resume == "auto") {
    found = checkpoints_->newest([&](const std::string& text) { context_.log.warn(text); });
  } else if (resume != "never") {
    found = Checkpoints::open(resume);
  }
  Chosen chosen;
  if (found) {
    chosen.manifest_checksum = found->manifest_checksum;
    chosen.fills_last_step = found->manifest.configuration_json.find(kLastStep) == std::string::npos;
    if (chosen.fills_last_step) fill_last_step(options_, inputs, steps);
    require_same_run(found->manifest.configuration_json, identity_, found->path.string());
    checkpoint_ = found->path.string();
    warn_of_another_level(found->manifest.instruction_set);
    step_done(found->manifest.step);
    if (found->manifest.step > steps.count) {
      refuse(ExitStatus::kMismatch, "{} is at step {}, past this run's {} steps: raise train.steps", checkpoint_,
             found->manifest.step, steps.count);
    }
  }
  replace_file(folder_->dir() / "config.resolved.cfg", context_.resolved_config);
  if (!earlier_) metrics_ = Metrics(folder_->dir() / "metrics.jsonl", *done_steps_, steps.count);
  return chosen;
}

void RunOutput::tell_all_ranks(const Chosen& chosen, TrainInputs& inputs, TrainSteps& steps) {
  Communicator& world = *context_.grid.world;
  checkpoint_ = world.broadcast(checkpoint_, 0);
  const std::string manifest_checksum = world.broadcast(chosen.manifest_checksum, 0);
  const bool fills = world.all_reduce(std::int64_t{chosen.fills_last_step}, Reduction::kMax) == 1;
  if (fills && !writes()) fill_last_step(options_, inputs, steps);
  const std::string summary = world.broadcast(earlier_ ? to_json(*earlier_).dump() : std::string(), 0);
  if (!summary.empty()) earlier_ = summary_from(summary);
  agree(world, [&] {
    if (writes()) return;
    context_.log.to_file(fs::path(options_.output.dir) / "logs" / fmt::format("rank-{}.log", world.rank()));
    if (!checkpoint_.empty()) Checkpoints::require_seen(checkpoint_, manifest_checksum);
  });
}

// By the rank that reports then: rank 0 may be the one that is lost.
void RunOutput::record_a_lost_peer() {
  if (context_.watchdog == nullptr) return;
  context_.watchdog->before_end([dir = fs::path(options_.output.dir), done = done_steps_, &log = context_.log](
                                    const std::string& report, const std::string& record) {
    write_exit(dir, ExitStatus::kStoppedEarly, "lost peer: " + report, *done);
    log.note(record);
  });
}

void RunOutput::warn_of_another_level(const std::string& saved) const {
  const std::string now = context_.backend.instruction_set();
  if (now == saved) return;
  context_.log.warn(
      fmt::format("{} was saved at the instruction set {}, and this run uses {}: it continues within rounding, not to "
                  "the bit; parallel.instruction_set chooses",
                  checkpoint_, printable(saved), now));
}

// A run that went to its end gives its result again.
std::optional<TrainSummary> RunOutput::earlier_result(std::int64_t steps) const {
  const fs::path result = folder_->dir() / "result.json";
  if (options_.output.resume == "never" || !is_there(result)) return std::nullopt;
  TrainSummary summary = summary_from(read_text(result));
  if (summary.steps < steps && options_.train.early_stopping == 0) return std::nullopt;
  return summary;
}

bool RunOutput::resumes_own_checkpoint() const { return !checkpoint_.empty() && options_.output.resume == "auto"; }

Counters RunOutput::restore(LoadedModel& model, InitialMagnitudes& initial, std::int64_t steps) {
  Counters counters;
  if (checkpoint_.empty()) return counters;
  agree(*context_.grid.world, [&] {
    counters = load_state(fs::path(checkpoint_) / "state.safetensors", context_.backend, model.parameters(), initial);
  });
  step_done(counters.step);
  context_.log.info(fmt::format("continues from {} at step {} of {}", checkpoint_, counters.step, steps));
  return counters;
}

void RunOutput::record_failure() const {
  const Failure failure = current_failure();
  bool known_to_all = false;
  try {
    throw;
  } catch (const AgreedError&) {
    known_to_all = true;
  } catch (...) {  // an error of one rank ends rank 0 before it could write
  }
  if (known_to_all && !writes()) return;
  const char* const elsewhere = failure.status == ExitStatus::kStoppedEarly
                                    ? "signal: another rank had it while it read weights"
                                    : "another rank failed: see its message";
  try {
    write_exit(options_.output.dir, failure.status, failure.message.empty() ? elsewhere : failure.message,
               *done_steps_);
  } catch (const Error& second) {  // the first error is the one to end with
    context_.log.warn(second.what());
  }
}

}  // namespace shardora
