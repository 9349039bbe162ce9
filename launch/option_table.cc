// Every key: its name, the commands that take it, the values it accepts, its help. Defaults are the initialisers in
// runtime/options.h.
#include "launch/option_values.h"

namespace shardora {
namespace {

using Keys = std::vector<OptionKey>;

constexpr unsigned kRuns = kTrain | kEval | kMerge | kGenerate;
constexpr unsigned kOnDevices = kRuns | kDoctor;
constexpr unsigned kParallel = kRuns | kAnalyze | kDoctor;
constexpr unsigned kNoCommand = 0;
constexpr bool kMayDiffer = true;

constexpr ValueRange kAbove0{.above_low = true};
constexpr ValueRange kFrom0{};
constexpr ValueRange kShare{.high = 1, .below_high = true};

Keys model_keys(ModelOptions& o) {
  return {
      {"model.path", kRuns | kAnalyze | kInspect | kPlan, text(o.path, "a model folder"),
       "Hugging Face folder: config.json and *.safetensors", kRuns | kAnalyze},
      {"model.dtype", kRuns | kAnalyze | kPlan, word(o.dtype, {"auto", "float32", "bfloat16"}),
       "frozen weights, on GPUs also activations and products; auto: float32 on CPUs, bfloat16 on GPUs; bfloat16 on a "
       "CPU: half the memory, a fifth slower"},
      {"model.init", kTrain, word(o.init, {"load", "random"}),
       "random: only config.json is read, with adapter.method = full"},
      {"model.weight_layouts", kRuns | kPlan, word(o.weight_layouts, {"auto", "one", "two"}),
       "copies of a float32 frozen weight; two: the fastest layout for each direction; auto: two where they fit"},
  };
}

Keys adapter_keys(AdapterOptions& o) {
  return {
      {"adapter.method", kTrain | kPlan,
       choice(o.method,
              {{"dora", AdapterMethod::kDora}, {"lora", AdapterMethod::kLora}, {"full", AdapterMethod::kFull}}),
       "what is trained; full: all weights"},
      {"adapter.rank", kTrain | kPlan, number(o.rank, {1, 65536}), "inner size r of B A"},
      {"adapter.alpha", kTrain, number(o.alpha, kAbove0), "scale of B A: alpha / rank"},
      {"adapter.rslora", kTrain, yes_no(o.rslora), "scale by alpha / sqrt(rank) instead"},
      {"adapter.dropout", kTrain, number(o.dropout, kShare), "share of inputs dropped while training"},
      {"adapter.dropout_scope", kTrain,
       choice(o.dropout_scope, {{"input", DropoutScope::kInput}, {"adapter", DropoutScope::kAdapter}}),
       "what dropout reaches: the whole layer's input as PEFT's DoRA, or the adapter's alone"},
      {"adapter.target_modules", kTrain | kPlan, names(o.target_modules),
       "linear layers to adapt: all-linear, or names"},
      {"adapter.exclude_modules", kTrain, names(o.exclude_modules), "linear layers to leave alone"},
      {"adapter.layers", kTrain | kPlan, layer_numbers(o.layers), "layers to adapt; empty: all"},
      {"adapter.rank_pattern", kTrain, pattern(o.rank_pattern, "a whole number from 1 to 65536"),
       "other ranks for modules whose name matches; the first match counts"},
      {"adapter.alpha_pattern", kTrain, pattern(o.alpha_pattern, "a number above 0, to 65536"),
       "other alphas for modules whose name matches; the first match counts"},
      {"adapter.magnitude_axis", kTrain | kAnalyze,
       choice(o.magnitude_axis, {{"output", MagnitudeAxis::kOutput}, {"input", MagnitudeAxis::kInput}}),
       "m has one entry for each output feature, as PEFT, or for each input feature, as the paper's text"},
      {"adapter.norm_gradient", kTrain,
       choice(o.norm_gradient, {{"detached", NormGradient::kDetached}, {"exact", NormGradient::kExact}}),
       "detached: the norm is a constant for the gradient, as in the paper's section 4.3"},
      {"adapter.path", kRuns | kAnalyze | kInspect | kPlan, text(o.path, "an adapter folder"),
       "an existing PEFT adapter folder or checkpoint; for train: where to start from", kMerge},
  };
}

Keys data_keys(DataOptions& o) {
  return {
      {"data.train", kTrain | kInspect | kPlan, training_sources(o.train), "what to train on", kTrain},
      {"data.eval", kTrain | kEval | kInspect, evaluation_sources(o.eval), "what to measure on"},
      {"data.sequence_length", kTrain | kEval | kPlan, number(o.sequence_length, {0, 100'000'000}),
       "longest sequence allowed, in tokens; 0: the model's limit"},
      {"data.overlong", kTrain | kEval,
       choice(o.overlong, {{"error", Overlong::kError}, {"truncate", Overlong::kTruncate}, {"drop", Overlong::kDrop}}),
       "what becomes of a longer sequence"},
      {"data.shuffle", kTrain, yes_no(o.shuffle), "another order in each epoch; false: file order"},
      {"data.packing", kTrain | kEval | kPlan, yes_no(o.packing), "several sequences in a micro-batch, end to end"},
  };
}

Keys train_keys(TrainOptions& o) {
  return {
      {"train.steps", kTrain | kPlan, number(o.steps, {0, 1e12}), "optimizer steps; either this or epochs"},
      {"train.epochs", kTrain | kPlan, number(o.epochs, {0, 1e6}), "passes over the data; either this or steps"},
      {"train.global_batch", kTrain | kPlan, number(o.global_batch, {1, 1e9}),
       "sequences in an optimizer step, over all ranks"},
      {"train.micro_batch_tokens", kTrain | kEval | kPlan, number(o.micro_batch_tokens, {1, 1e9}),
       "most tokens of a rank's micro-batch; a longer sequence goes alone"},
      {"train.recompute", kTrain | kPlan,
       choice(o.recompute,
              {{"none", Recompute::kNone}, {"selective", Recompute::kSelective}, {"full", Recompute::kFull}}),
       "what backward makes again to save memory; selective: norms and SwiGLU; full: whole layers (a third more time); "
       "same results"},
      {"train.eval_every", kTrain, number(o.eval_every, {0, 1e12}), "steps between evaluations; 0: only at the end"},
      {"train.save_best", kTrain, yes_no(o.save_best), "keep the adapter of the best evaluation, not the last"},
      {"train.early_stopping", kTrain, number(o.early_stopping, {0, 1e6}),
       "stop after so many evaluations without gain; 0: off"},
      {"train.stop_at", kTrain, number(o.stop_at, kFrom0),
       "save and end in time for this moment, in epoch seconds; 0: no limit"},
      {"train.skip_nonfinite", kTrain, number(o.skip_nonfinite, {0, 1e6}),
       "steps in a row that may pass without an update where loss or gradient is not finite"},
      {"train.check_every", kTrain, number(o.check_every, {0, 1e12}),
       "steps between checks that memory has not changed by itself; 0: only where one saves or a loss is not finite"},
      {"train.seed", kTrain, number(o.seed, kFrom0), "of shuffling, dropout and initial values"},
      {"train.deterministic", kTrain, yes_no(o.deterministic),
       "on a GPU: the same bits each time, for some attention speed and memory; CPU runs always are"},
      {"train.profile_ranges", kTrain, yes_no(o.profile_ranges),
       "phases, micro-batches and layers by name (NVTX) for NVIDIA's profiler; needs a build with CUDA", kNoCommand,
       kMayDiffer},
      {"train.learning_rate", kTrain, number(o.learning_rate, kAbove0), "highest learning rate"},
      {"train.magnitude_learning_rate", kTrain, number_or(o.magnitude_learning_rate, kFrom0, "", -1.0),
       "of m; empty: the same as learning_rate"},
      {"train.b_learning_rate_ratio", kTrain, number(o.b_learning_rate_ratio, kAbove0),
       "learning rate of B over that of A, as LoRA+"},
      {"train.warmup_steps", kTrain, number(o.warmup_steps, {0, 1e12}),
       "steps of rising learning rate; below 1: a share of all steps"},
      {"train.schedule", kTrain,
       choice(o.schedule, {{"cosine", ScheduleKind::kCosine},
                           {"linear", ScheduleKind::kLinear},
                           {"constant", ScheduleKind::kConstant}}),
       "how the learning rate falls after that"},
      {"train.min_learning_rate", kTrain, number(o.min_learning_rate, kFrom0), "where it ends"},
      {"train.weight_decay", kTrain, number(o.weight_decay, kFrom0), "AdamW's, of A and B; m has none"},
      {"train.beta1", kTrain, number(o.beta1, kShare), "AdamW's decay of the mean gradient"},
      {"train.beta2", kTrain, number(o.beta2, kShare), "AdamW's decay of the mean squared gradient"},
      {"train.epsilon", kTrain, number(o.epsilon, kAbove0), "AdamW's guard against division by 0"},
      {"train.clip_norm", kTrain, number(o.clip_norm, kFrom0), "longest gradient; 0: off"},
  };
}

Keys parallel_keys(ParallelOptions& o) {
  return {
      {"parallel.tensor", kOnDevices | kPlan, number(o.tensor, {1, 65536}),
       "ranks that share one copy of the model; the other ranks are data-parallel"},
      {"parallel.backend", kOnDevices, word(o.backend, {"auto", "cpu", "cuda"}),
       "where to compute; auto: GPUs where every rank has one, else CPUs"},
      {"parallel.communicator", kOnDevices, word(o.communicator, {"auto", "nccl", "host"}),
       "between devices: NCCL, or host memory and MPI; auto: NCCL where it is usable"},
      {"parallel.attention", kOnDevices, word(o.attention, {"auto", "cudnn", "own"}),
       "on devices: cuDNN's, or own kernels; auto: cuDNN where it serves the run; bfloat16 only"},
      {"parallel.share_devices", kOnDevices, yes_no(o.share_devices), "several ranks may compute on one device"},
      {"parallel.threads", kParallel | kPlan, number(o.threads, {0, 4096}),
       "CPU threads of a rank; 0: the cores in its affinity mask", kNoCommand, kMayDiffer},
      {"parallel.bind", kParallel, word(o.bind, {"auto", "keep"}),
       "auto: widen a mask that is tighter than the rank's share of the host; keep: as the launcher set it", kNoCommand,
       kMayDiffer},
      {"parallel.timeout_seconds", kParallel, number(o.timeout_seconds, {0.1, 1e9}),
       "longest time that a rank may make no progress while a peer waits for it; then all ranks end"},
      {"parallel.init_timeout_seconds", kParallel, number(o.init_timeout_seconds, {0.1, 1e9}),
       "the same until all ranks have met: the start of MPI and of NCCL"},
      {"parallel.check_collectives", kParallel, yes_no(o.check_collectives),
       "debugging: before each collective, ranks compare what they are about to do"},
      {"parallel.instruction_set", kParallel, word(o.instruction_set, {"auto", "x86-64", "x86-64-v3", "x86-64-v4"}),
       "what the CPU's loops may use; auto: the highest level that every rank's processor has"},
  };
}

Keys output_keys(OutputOptions& o) {
  return {
      {"output.dir", kTrain | kMerge | kDoctor, text(o.dir, "a folder"), "folder for everything that is written",
       kTrain | kMerge, kMayDiffer},
      {"output.log_every", kTrain, number(o.log_every, {1, 1e12}), "steps between lines of metrics.jsonl", kNoCommand,
       kMayDiffer},
      {"output.checkpoint_every", kTrain, number_or(o.checkpoint_every, {0, 1e12}, "auto", std::int64_t{-1}),
       "steps between checkpoints; 0: off; auto: about ten minutes"},
      {"output.keep", kTrain, number(o.keep, {2, 1e6}), "checkpoints to keep"},
      {"output.resume", kTrain | kInspect, text(o.resume, "auto, never, or a checkpoint's folder"),
       "auto: go on from the newest checkpoint in output.dir"},
      {"output.overwrite", kTrain | kMerge, yes_no(o.overwrite), "start anew in a folder that has a run"},
      {"output.background_save", kTrain, yes_no(o.background_save), "write checkpoints while training goes on"},
  };
}

Keys merge_keys(MergeOptions& o) {
  return {
      {"merge.dtype", kMerge, word(o.dtype, {"base", "float32", "bfloat16", "float16"}),
       "type of the merged weights; base: each as in the base model"},
      {"merge.verify", kMerge, yes_no(o.verify), "compare the logits of the adapted and of the merged model"},
  };
}

Keys eval_keys(EvalOptions& o) {
  return {
      {"eval.choices", kEval, evaluation_sources(o.choices),
       "multiple-choice questions, scored by the likelihood of their options"},
      {"eval.scores", kEval, text(o.scores, "a file"),
       "file for the log-likelihoods of the options, a JSON line a question", kNoCommand, kMayDiffer},
  };
}

Keys plan_keys(PlanOptions& o) {
  return {
      {"plan.shape", kPlan, text(o.shape, "a name such as 8B, 70B or qwen2.5-7B"),
       "a model by its name, in the place of model.path"},
      {"plan.device", kPlan, text(o.device, "this, or a GPU such as h100"),
       "what to run on; this: the processor of this machine, which is measured for a few seconds"},
      {"plan.devices", kPlan, number(o.devices, {1, 65536}),
       "ranks, one on each device; of this machine, its ranks share it. All tensor sizes that divide them are planned, "
       "or parallel.tensor alone where it is above 1"},
      {"plan.device_memory", kPlan, number(o.device_memory, {0, 1e6}),
       "GiB of a device; 0: all that such a GPU has, or what is free on this machine"},
      {"plan.tokens", kPlan, number(o.tokens, {0, 1e15}),
       "tokens of an epoch, for the time of the run where data.train is not given; sequences are then of "
       "data.sequence_length"},
      {"plan.calibration",
       kPlan,
       {.expected =
            "nothing: files of measured speeds are no longer kept, this machine is measured for each plan; leave "
            "the key out",
        .store = [](const std::string& given) { return given.empty(); },
        .print = [] { return std::string(); }},
       "without effect, kept for older configuration files: this machine is measured for each plan"},
  };
}

Keys generate_keys(GenerateOptions& o) {
  return {
      {"generate.prompts", kGenerate, text(o.prompts, "a dataset file"), "dataset file: each sequence is a prompt",
       kGenerate},
      {"generate.max_new_tokens", kGenerate, number(o.max_new_tokens, {1, 1e8}),
       "longest continuation; it ends earlier where the model has no positions left"},
      {"generate.temperature", kGenerate, number(o.temperature, {0, 1e6}),
       "divides the logits before a token is drawn; 0: always the most probable token"},
      {"generate.top_k", kGenerate, number(o.top_k, {0, 1e9}), "draw from so many most probable tokens; 0: from all"},
      {"generate.top_p", kGenerate, number(o.top_p, {.high = 1, .above_low = true}),
       "draw from the fewest tokens that together are at least so probable, after top_k; 1: from all"},
      {"generate.beams", kGenerate, number(o.beams, {1, 256}),
       "continuations of a prompt that are followed side by side; above 1: the best by mean log-probability"},
      {"generate.seed", kGenerate, number(o.seed, kFrom0),
       "of drawing; a prompt's tokens depend on it, not on the ranks or on other prompts"},
      {"generate.batch_tokens", kGenerate, number(o.batch_tokens, {1, 1e9}),
       "tokens of prompts and continuations that a rank keeps at a time, over all beams: memory against speed"},
      {"generate.stop_tokens", kGenerate, token_ids(o.stop_tokens),
       "ids that end a continuation; empty: the model's end-of-sequence tokens"},
  };
}

Keys analyze_keys(AnalyzeOptions& o) {
  return {
      {"analyze.tuned", kAnalyze, text(o.tuned, "a model folder"),
       "a fully tuned model to compare with the base, in the place of adapter.path"},
      {"analyze.checkpoints", kAnalyze, text(o.checkpoints, "the folder of a run"),
       "all checkpoints of a run, in the place of adapter.path"},
      {"analyze.csv", kAnalyze, text(o.csv, "a file"), "table of dM and dD by layer and projection"},
  };
}

Keys doctor_keys(DoctorOptions& o) {
  return {
      {"doctor.timeout_seconds", kDoctor, number(o.timeout_seconds, {1, 86400}),
       "the longest that all tests together may take; then each host says what hangs there, and the exit status is 69"},
  };
}
}  // namespace

std::vector<OptionKey> option_table(RunOptions& o) {
  Keys table;
  for (const Keys& section :
       {model_keys(o.model), adapter_keys(o.adapter), data_keys(o.data), train_keys(o.train), parallel_keys(o.parallel),
        output_keys(o.output), merge_keys(o.merge), eval_keys(o.eval), plan_keys(o.plan), generate_keys(o.generate),
        analyze_keys(o.analyze), doctor_keys(o.doctor)}) {
    table.insert(table.end(), section.begin(), section.end());
  }
  return table;
}

const std::vector<CommandInfo>& command_table() {
  static const std::vector<CommandInfo> commands = {
      {"train", kTrain, "adapts a frozen model, or trains all of it"},
      {"eval", kEval, "loss and perplexity of a model, with or without an adapter, on a dataset"},
      {"merge", kMerge, "folds an adapter into its base model"},
      {"generate", kGenerate, "continues prompts given as token ids"},
      {"plan", kPlan, "memory, speed, traffic and disk of a training run, before it is started (one rank)", kTrain},
      {"doctor", kDoctor,
       "the launch, the devices, the network and output.dir: a table, a short self-test, and what to do", kTrain},
      {"analyze", kAnalyze, "how far each layer has moved from its base, in magnitude and in direction"},
      {"inspect", kInspect, "what is in a model folder, an adapter, a dataset or a checkpoint (one rank)"},
  };
  return commands;
}

}  // namespace shardora
