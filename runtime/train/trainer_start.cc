// How a run begins: the output folder, the inputs, the agreement of all ranks, then the weights.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/comm/agreement.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"
#include "runtime/train/start_table.h"
#include "runtime/train/summary.h"
#include "runtime/train/trainer.h"

namespace shardora {

namespace fs = std::filesystem;

void Trainer::start() {
  context_.set_activity("opening the inputs");
  open_inputs();
  choose_steps();
  context_.set_activity("opening output.dir");
  open_output();
  if (earlier_) return;
  context_.set_activity("loading the weights");
  load_model();
  if (!resume_from_.empty()) resume();
}

void Trainer::open_inputs() {
  Communicator& world = *context_.grid.world;
  std::string data_fingerprint;
  agree(world, [&] {
    require_profiler_ranges(options_.train.profile_ranges);
    files_ = open_model_files(options_);
    for (const DataSource& source : options_.data.train) {
      train_sets_.push_back(open_dataset(source, files_.config, options_.data));
      data_fingerprint += train_sets_.back().fingerprint() + fmt::format(":{} ", source.share);
    }
    for (const DataSource& source : options_.data.eval) {
      eval_sets_.push_back(open_dataset(source, files_.config, options_.data));
    }
    if (options_.train.global_batch < context_.grid.data.size) {
      refuse(ExitStatus::kUsage,
             "train.global_batch = {} is less than the data-parallel size {}: every rank needs a sequence",
             options_.train.global_batch, context_.grid.data.size);
    }
  });
  std::string eval_fingerprint;
  for (const Dataset& dataset : eval_sets_) eval_fingerprint += dataset.fingerprint() + " ";
  require_agreement(world, {{"model", files_.fingerprint + files_.adapter_fingerprint},
                            {"data.train", data_fingerprint},
                            {"data.eval", eval_fingerprint},
                            {"split", fmt::format("tensor {} of {} ranks", context_.grid.tensor.size, world.size())}});
  identity_ = run_identity(options_, files_.fingerprint, data_fingerprint);
  for (const Dataset& dataset : train_sets_) train_views_.push_back(&dataset);
}

void Trainer::choose_steps() {
  agree(*context_.grid.world, [&] {
    std::vector<Sampler::Source> sources;
    for (std::size_t i = 0; i < train_sets_.size(); ++i) {
      sources.push_back({.dataset = &train_sets_[i], .share = options_.data.train[i].share});
    }
    sampler_ =
        std::make_unique<Sampler>(sources, options_.train.global_batch, options_.data.shuffle, options_.train.seed);
    steps_ = options_.train.steps > 0 ? options_.train.steps : sampler_->steps_in(options_.train.epochs);
    schedule_ = std::make_unique<Schedule>(options_.train, steps_);
    if (options_.train.save_best && eval_sets_.empty()) {
      refuse(ExitStatus::kUsage, "train.save_best needs data.eval: there is nothing to compare");
    }
    const auto has_idle = [](const Dataset* set) {
      for (std::int64_t i = 0; i < set->size(); ++i) {
        if (set->target_count(i) == 0) return true;
      }
      return false;
    };
    if (std::any_of(train_views_.begin(), train_views_.end(), has_idle)) {
      for (std::int64_t step = 1; step <= steps_; ++step) sampler_->plan(step);  // refuses a step without targets
    }
  });
}

// Rank 0 alone lists and chooses; what it chose is told to all.
void Trainer::open_output() {
  Communicator& world = *context_.grid.world;
  std::string manifest_checksum;
  agree(world, [&] {
    if (!writes()) return;
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
    earlier_ = finished_before();
    const std::string& resume = options_.output.resume;
    std::optional<Checkpoints::Found> found;
    if (resume == "auto") {
      found = checkpoints_->newest([&](const std::string& text) { context_.log.warn(text); });
    } else if (resume != "never") {
      found = Checkpoints::open(resume);
    }
    if (found) {
      require_same_run(found->manifest.configuration_json, identity_, found->path.string());
      resume_from_ = found->path.string();
      manifest_checksum = found->manifest_checksum;
      counters_.step = found->manifest.step;
      warn_of_another_level(found->manifest.instruction_set);
    }
    if (found && counters_.step > steps_) {
      refuse(ExitStatus::kMismatch, "{} is at step {}, past this run's {} steps: raise train.steps", resume_from_,
             counters_.step, steps_);
    }
    replace_file(folder_->dir() / "config.resolved.cfg", context_.resolved_config);
    if (!earlier_) metrics_ = Metrics(folder_->dir() / "metrics.jsonl", counters_.step, steps_);
  });
  folder_is_ours_ = true;
  resume_from_ = world.broadcast(resume_from_, 0);
  manifest_checksum = world.broadcast(manifest_checksum, 0);
  const std::string summary = world.broadcast(earlier_ ? to_json(*earlier_).dump() : std::string(), 0);
  if (!summary.empty()) earlier_ = summary_from(summary);
  agree(world, [&] {
    if (writes()) return;
    context_.log.to_file(fs::path(options_.output.dir) / "logs" / fmt::format("rank-{}.log", world.rank()));
    if (!resume_from_.empty()) Checkpoints::require_seen(resume_from_, manifest_checksum);
  });
  prepare_for_a_lost_peer();
}

// Whoever reports then: rank 0 may be the one that is lost.
void Trainer::prepare_for_a_lost_peer() {
  if (context_.watchdog == nullptr) return;
  *done_steps_ = counters_.step;
  context_.watchdog->before_end([dir = fs::path(options_.output.dir), done = done_steps_, &log = context_.log](
                                    const std::string& report, const std::string& record) {
    write_exit(dir, ExitStatus::kStoppedEarly, "lost peer: " + report, *done);
    log.note(record);
  });
}

void Trainer::warn_of_another_level(const std::string& saved) {
  const std::string now = context_.backend.instruction_set();
  if (now == saved) return;
  context_.log.warn(
      fmt::format("{} was saved at the instruction set {}, and this run uses {}: it continues within rounding, not to "
                  "the bit; parallel.instruction_set chooses",
                  resume_from_, printable(saved), now));
}

void Trainer::load_model() {
  std::vector<const Dataset*> eval_views;
  eval_views.reserve(eval_sets_.size());
  for (const Dataset& dataset : eval_sets_) eval_views.push_back(&dataset);
  const ModelUse plan = training_plan(train_views_, eval_views, options_.train.global_batch, packing_);
  RunOptions options = options_;
  if (!resume_from_.empty()) {
    // The checkpoint's own adapter, or under full its model, in place of where the run began.
    (options.adapter.method == AdapterMethod::kFull ? options.model.path : options.adapter.path) = resume_from_;
    if (options.adapter.method == AdapterMethod::kFull) options.model.init = "load";
    agree(*context_.grid.world, [&] { files_ = open_model_files(options); });
  }
  model_ = std::make_unique<LoadedModel>(options, context_, files_, plan);
  if (files_.adapter && resume_from_.empty()) {
    const PeftConfig& has = files_.adapter->config;
    context_.log.info(fmt::format("starts from {}: {}, rank {}, alpha {:g}, as its adapter_config.json says",
                                  options.adapter.path, has.use_dora ? "dora" : "lora", has.rank, has.alpha));
  }
  frozen_ = std::make_unique<FrozenGuard>(context_.backend, model_->decoder());
  step_ = std::make_unique<TrainStep>(TrainStep::Parts{.options = options_.train,
                                                       .context = context_,
                                                       .model = *model_,
                                                       .sampler = *sampler_,
                                                       .schedule = *schedule_,
                                                       .datasets = train_views_,
                                                       .packing = packing_});
  initial_magnitudes_ = read_magnitudes(context_.backend, model_->parameters());
}

void Trainer::resume() {
  agree(*context_.grid.world, [&] {
    counters_ = load_state(fs::path(resume_from_) / "state.safetensors", context_.backend, model_->parameters(),
                           initial_magnitudes_);
  });
  if (options_.output.resume == "auto") saved_step_ = counters_.step;  // else it may stand in another run's folder
  context_.log.info(fmt::format("continues from {} at step {} of {}", resume_from_, counters_.step, steps_));
}

void Trainer::say_hello() const {
  std::int64_t total = 0;
  for (const NamedShape& tensor : model_->decoder().tensors()) total += Shape(tensor.shape).elements();
  const std::int64_t first = std::min(counters_.step + 1, steps_);
  const auto batches =
      micro_batches(sampler_->plan(first).sequences, train_views_, 0, context_.grid.data.size, packing_).size();
  // The device's description once more: which attention serves has been decided for this run's sequences and type.
  context_.log.info(start_table({.model = options_.model.path,
                                 .weights = model_->weights_text(),
                                 .device = context_.backend.description(),
                                 .parameters = total,
                                 .trained = model_->parameters(),
                                 .grid = context_.grid,
                                 .first_step = first,
                                 .steps = steps_,
                                 .sequences = options_.train.global_batch,
                                 .micro_batches = static_cast<std::int64_t>(batches),
                                 .memory = model_->memory()}));
}

}  // namespace shardora
