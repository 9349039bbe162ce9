#include "launch/option_table.h"

namespace shardora {
namespace {

constexpr unsigned kRuns = kTrain | kEval | kMerge | kGenerate;
constexpr unsigned kOnDevices = kRuns | kDoctor;
constexpr unsigned kParallel = kRuns | kAnalyze | kDoctor;

// AT(train.steps): where RunOptions keeps it.
#define SHARDORA_AT(member) field([](RunOptions & options) -> auto& { return options.member; })

const ValueRange kAbove0{.low = 0, .above_low = true};
const ValueRange kFrom0{.low = 0};
const ValueRange kShare{.low = 0, .high = 1, .below_high = true};
ValueRange from_to(double low, double high) { return {.low = low, .high = high}; }

using Keys = std::vector<OptionKey>;

Keys model_keys() {
  return {
      {.name = "model.path",
       .used_by = kRuns | kAnalyze | kInspect | kPlan,
       .needed_by = kRuns | kAnalyze,
       .help = "Hugging Face folder: config.json and *.safetensors",
       .value = text(SHARDORA_AT(model.path), "a model folder")},
      {.name = "model.dtype",
       .used_by = kRuns | kAnalyze | kPlan,
       .help = "frozen weights, on GPUs also activations and products; auto: float32 on CPUs, bfloat16 on GPUs; "
               "bfloat16 on a CPU: half the memory, a fifth slower",
       .value = word(SHARDORA_AT(model.dtype), {"auto", "float32", "bfloat16"})},
      {.name = "model.init",
       .used_by = kTrain,
       .help = "random: only config.json is read, with adapter.method = full",
       .value = word(SHARDORA_AT(model.init), {"load", "random"})},
      {.name = "model.weight_layouts",
       .used_by = kRuns | kPlan,
       .help =
           "copies of a float32 frozen weight; two: the fastest layout for each direction; auto: two where they fit",
       .value = word(SHARDORA_AT(model.weight_layouts), {"auto", "one", "two"})},
  };
}

Keys adapter_keys() {
  return {
      {.name = "adapter.method",
       .used_by = kTrain | kPlan,
       .help = "what is trained; full: all weights",
       .value = choice<AdapterMethod>(
           SHARDORA_AT(adapter.method),
           {{"dora", AdapterMethod::kDora}, {"lora", AdapterMethod::kLora}, {"full", AdapterMethod::kFull}})},
      {.name = "adapter.rank",
       .used_by = kTrain | kPlan,
       .help = "inner size r of B A",
       .value = whole(SHARDORA_AT(adapter.rank), from_to(1, 65536))},
      {.name = "adapter.alpha",
       .used_by = kTrain,
       .help = "scale of B A: alpha / rank",
       .value = real(SHARDORA_AT(adapter.alpha), kAbove0)},
      {.name = "adapter.rslora",
       .used_by = kTrain,
       .help = "scale by alpha / sqrt(rank) instead",
       .value = yes_no(SHARDORA_AT(adapter.rslora))},
      {.name = "adapter.dropout",
       .used_by = kTrain,
       .help = "share of inputs dropped while training",
       .value = real(SHARDORA_AT(adapter.dropout), kShare)},
      {.name = "adapter.dropout_scope",
       .used_by = kTrain,
       .help = "what dropout reaches: the whole layer's input as PEFT's DoRA, or the adapter's alone",
       .value = choice<DropoutScope>(SHARDORA_AT(adapter.dropout_scope),
                                     {{"input", DropoutScope::kInput}, {"adapter", DropoutScope::kAdapter}})},
      {.name = "adapter.target_modules",
       .used_by = kTrain | kPlan,
       .help = "linear layers to adapt: all-linear, or names",
       .value = names(SHARDORA_AT(adapter.target_modules))},
      {.name = "adapter.exclude_modules",
       .used_by = kTrain,
       .help = "linear layers to leave alone",
       .value = names(SHARDORA_AT(adapter.exclude_modules))},
      {.name = "adapter.layers",
       .used_by = kTrain | kPlan,
       .help = "layers to adapt; empty: all",
       .value = layer_numbers(SHARDORA_AT(adapter.layers))},
      {.name = "adapter.rank_pattern",
       .used_by = kTrain,
       .help = "other ranks for modules whose name matches; the first match counts",
       .value = rank_pattern(SHARDORA_AT(adapter.rank_pattern))},
      {.name = "adapter.alpha_pattern",
       .used_by = kTrain,
       .help = "other alphas for modules whose name matches; the first match counts",
       .value = alpha_pattern(SHARDORA_AT(adapter.alpha_pattern))},
      {.name = "adapter.magnitude_axis",
       .used_by = kTrain | kAnalyze,
       .help = "m has one entry for each output feature, as PEFT, or for each input feature, as the paper's text",
       .value = choice<MagnitudeAxis>(SHARDORA_AT(adapter.magnitude_axis),
                                      {{"output", MagnitudeAxis::kOutput}, {"input", MagnitudeAxis::kInput}})},
      {.name = "adapter.norm_gradient",
       .used_by = kTrain,
       .help = "detached: the norm is a constant for the gradient, as in the paper's section 4.3",
       .value = choice<NormGradient>(SHARDORA_AT(adapter.norm_gradient),
                                     {{"detached", NormGradient::kDetached}, {"exact", NormGradient::kExact}})},
      {.name = "adapter.path",
       .used_by = kRuns | kAnalyze | kInspect | kPlan,
       .needed_by = kMerge,
       .help = "an existing PEFT adapter folder or checkpoint; for train: where to start from",
       .value = text(SHARDORA_AT(adapter.path), "an adapter folder")},
  };
}

Keys data_keys() {
  return {
      {.name = "data.train",
       .used_by = kTrain | kInspect | kPlan,
       .needed_by = kTrain,
       .help = "what to train on",
       .value = training_sources(SHARDORA_AT(data.train))},
      {.name = "data.eval",
       .used_by = kTrain | kEval | kInspect,
       .help = "what to measure on",
       .value = evaluation_sources(SHARDORA_AT(data.eval))},
      {.name = "data.sequence_length",
       .used_by = kTrain | kEval | kPlan,
       .help = "longest sequence allowed, in tokens; 0: the model's limit",
       .value = whole(SHARDORA_AT(data.sequence_length), from_to(0, 100'000'000))},
      {.name = "data.overlong",
       .used_by = kTrain | kEval,
       .help = "what becomes of a longer sequence",
       .value = choice<Overlong>(
           SHARDORA_AT(data.overlong),
           {{"error", Overlong::kError}, {"truncate", Overlong::kTruncate}, {"drop", Overlong::kDrop}})},
      {.name = "data.shuffle",
       .used_by = kTrain,
       .help = "another order in each epoch; false: file order",
       .value = yes_no(SHARDORA_AT(data.shuffle))},
      {.name = "data.packing",
       .used_by = kTrain | kEval | kPlan,
       .help = "several sequences in a micro-batch, end to end",
       .value = yes_no(SHARDORA_AT(data.packing))},
  };
}

Keys length_keys() {
  return {
      {.name = "train.steps",
       .used_by = kTrain | kPlan,
       .help = "optimizer steps; either this or epochs",
       .value = whole(SHARDORA_AT(train.steps), from_to(0, 1e12))},
      {.name = "train.epochs",
       .used_by = kTrain | kPlan,
       .help = "passes over the data; either this or steps",
       .value = real(SHARDORA_AT(train.epochs), from_to(0, 1e6))},
      {.name = "train.global_batch",
       .used_by = kTrain | kPlan,
       .help = "sequences in an optimizer step, over all ranks",
       .value = whole(SHARDORA_AT(train.global_batch), from_to(1, 1e9))},
      {.name = "train.micro_batch_tokens",
       .used_by = kTrain | kEval | kPlan,
       .help = "most tokens of a rank's micro-batch; a longer sequence goes alone",
       .value = whole(SHARDORA_AT(train.micro_batch_tokens), from_to(1, 1e9))},
      {.name = "train.recompute",
       .used_by = kTrain | kPlan,
       .help =
           "what backward makes again to save memory; selective: norms and SwiGLU; full: whole layers (a third more "
           "time); same results",
       .value = choice<Recompute>(
           SHARDORA_AT(train.recompute),
           {{"none", Recompute::kNone}, {"selective", Recompute::kSelective}, {"full", Recompute::kFull}})},
      {.name = "train.eval_every",
       .used_by = kTrain,
       .help = "steps between evaluations; 0: only at the end",
       .value = whole(SHARDORA_AT(train.eval_every), from_to(0, 1e12))},
      {.name = "train.save_best",
       .used_by = kTrain,
       .help = "keep the adapter of the best evaluation, not the last",
       .value = yes_no(SHARDORA_AT(train.save_best))},
      {.name = "train.early_stopping",
       .used_by = kTrain,
       .help = "stop after so many evaluations without gain; 0: off",
       .value = whole(SHARDORA_AT(train.early_stopping), from_to(0, 1e6))},
      {.name = "train.stop_at",
       .used_by = kTrain,
       .help = "save and end in time for this moment, in epoch seconds; 0: no limit",
       .value = real(SHARDORA_AT(train.stop_at), kFrom0)},
      {.name = "train.skip_nonfinite",
       .used_by = kTrain,
       .help = "steps in a row that may pass without an update where loss or gradient is not finite",
       .value = whole(SHARDORA_AT(train.skip_nonfinite), from_to(0, 1e6))},
      {.name = "train.check_every",
       .used_by = kTrain,
       .help = "steps between checks that memory has not changed by itself; 0: only where one saves or a loss is not "
               "finite",
       .value = whole(SHARDORA_AT(train.check_every), from_to(0, 1e12))},
      {.name = "train.seed",
       .used_by = kTrain,
       .help = "of shuffling, dropout and initial values",
       .value = seed(SHARDORA_AT(train.seed))},
      {.name = "train.deterministic",
       .used_by = kTrain,
       .help = "on a GPU: the same bits each time, for some attention speed and memory; CPU runs always are",
       .value = yes_no(SHARDORA_AT(train.deterministic))},
      {.name = "train.profile_ranges",
       .used_by = kTrain,
       .may_differ = true,
       .help = "phases, micro-batches and layers by name (NVTX) for NVIDIA's profiler; needs a build with CUDA",
       .value = yes_no(SHARDORA_AT(train.profile_ranges))},
  };
}

Keys optimizer_keys() {
  return {
      {.name = "train.learning_rate",
       .used_by = kTrain,
       .help = "highest learning rate",
       .value = real(SHARDORA_AT(train.learning_rate), kAbove0)},
      {.name = "train.magnitude_learning_rate",
       .used_by = kTrain,
       .help = "of m; empty: the same as learning_rate",
       .value = real_or_empty(SHARDORA_AT(train.magnitude_learning_rate), kFrom0, -1)},
      {.name = "train.b_learning_rate_ratio",
       .used_by = kTrain,
       .help = "learning rate of B over that of A, as LoRA+",
       .value = real(SHARDORA_AT(train.b_learning_rate_ratio), kAbove0)},
      {.name = "train.warmup_steps",
       .used_by = kTrain,
       .help = "steps of rising learning rate; below 1: a share of all steps",
       .value = real(SHARDORA_AT(train.warmup_steps), from_to(0, 1e12))},
      {.name = "train.schedule",
       .used_by = kTrain,
       .help = "how the learning rate falls after that",
       .value = choice<ScheduleKind>(SHARDORA_AT(train.schedule), {{"cosine", ScheduleKind::kCosine},
                                                                   {"linear", ScheduleKind::kLinear},
                                                                   {"constant", ScheduleKind::kConstant}})},
      {.name = "train.min_learning_rate",
       .used_by = kTrain,
       .help = "where it ends",
       .value = real(SHARDORA_AT(train.min_learning_rate), kFrom0)},
      {.name = "train.weight_decay",
       .used_by = kTrain,
       .help = "AdamW's, of A and B; m has none",
       .value = real(SHARDORA_AT(train.weight_decay), kFrom0)},
      {.name = "train.beta1",
       .used_by = kTrain,
       .help = "AdamW's decay of the mean gradient",
       .value = real(SHARDORA_AT(train.beta1), kShare)},
      {.name = "train.beta2",
       .used_by = kTrain,
       .help = "AdamW's decay of the mean squared gradient",
       .value = real(SHARDORA_AT(train.beta2), kShare)},
      {.name = "train.epsilon",
       .used_by = kTrain,
       .help = "AdamW's guard against division by 0",
       .value = real(SHARDORA_AT(train.epsilon), kAbove0)},
      {.name = "train.clip_norm",
       .used_by = kTrain,
       .help = "longest gradient; 0: off",
       .value = real(SHARDORA_AT(train.clip_norm), kFrom0)},
  };
}

Keys parallel_keys() {
  return {
      {.name = "parallel.tensor",
       .used_by = kOnDevices | kPlan,
       .help = "ranks that share one copy of the model; the other ranks are data-parallel",
       .value = whole(SHARDORA_AT(parallel.tensor), from_to(1, 65536))},
      {.name = "parallel.backend",
       .used_by = kOnDevices,
       .help = "where to compute; auto: GPUs where every rank has one, else CPUs",
       .value = word(SHARDORA_AT(parallel.backend), {"auto", "cpu", "cuda"})},
      {.name = "parallel.communicator",
       .used_by = kOnDevices,
       .help = "between devices: NCCL, or host memory and MPI; auto: NCCL where it is usable",
       .value = word(SHARDORA_AT(parallel.communicator), {"auto", "nccl", "host"})},
      {.name = "parallel.attention",
       .used_by = kOnDevices,
       .help = "on devices: cuDNN's, or own kernels; auto: cuDNN where it serves the run; bfloat16 only",
       .value = word(SHARDORA_AT(parallel.attention), {"auto", "cudnn", "own"})},
      {.name = "parallel.share_devices",
       .used_by = kOnDevices,
       .help = "several ranks may compute on one device",
       .value = yes_no(SHARDORA_AT(parallel.share_devices))},
      {.name = "parallel.threads",
       .used_by = kParallel | kPlan,
       .may_differ = true,
       .help = "CPU threads of a rank; 0: the cores in its affinity mask",
       .value = whole(SHARDORA_AT(parallel.threads), from_to(0, 4096))},
      {.name = "parallel.bind",
       .used_by = kParallel,
       .may_differ = true,
       .help = "auto: widen a mask that is tighter than the rank's share of the host; keep: as the launcher set it",
       .value = word(SHARDORA_AT(parallel.bind), {"auto", "keep"})},
      {.name = "parallel.timeout_seconds",
       .used_by = kParallel,
       .help = "longest time that a rank may make no progress while a peer waits for it; then all ranks end",
       .value = real(SHARDORA_AT(parallel.timeout_seconds), from_to(0.1, 1e9))},
      {.name = "parallel.init_timeout_seconds",
       .used_by = kParallel,
       .help = "the same until all ranks have met: the start of MPI and of NCCL",
       .value = real(SHARDORA_AT(parallel.init_timeout_seconds), from_to(0.1, 1e9))},
      {.name = "parallel.check_collectives",
       .used_by = kParallel,
       .help = "debugging: before each collective, ranks compare what they are about to do",
       .value = yes_no(SHARDORA_AT(parallel.check_collectives))},
      {.name = "parallel.instruction_set",
       .used_by = kParallel,
       .help = "what the CPU's loops may use; auto: the highest level that every rank's processor has",
       .value = word(SHARDORA_AT(parallel.instruction_set), {"auto", "x86-64", "x86-64-v3", "x86-64-v4"})},
  };
}

Keys output_keys() {
  return {
      {.name = "output.dir",
       .used_by = kTrain | kMerge | kDoctor,
       .needed_by = kTrain | kMerge,
       .may_differ = true,
       .help = "folder for everything that is written",
       .value = text(SHARDORA_AT(output.dir), "a folder")},
      {.name = "output.log_every",
       .used_by = kTrain,
       .may_differ = true,
       .help = "steps between lines of metrics.jsonl",
       .value = whole(SHARDORA_AT(output.log_every), from_to(1, 1e12))},
      {.name = "output.checkpoint_every",
       .used_by = kTrain,
       .help = "steps between checkpoints; 0: off; auto: about ten minutes",
       .value = whole_or_word(SHARDORA_AT(output.checkpoint_every), from_to(0, 1e12), "auto", -1)},
      {.name = "output.keep",
       .used_by = kTrain,
       .help = "checkpoints to keep",
       .value = whole(SHARDORA_AT(output.keep), from_to(2, 1e6))},
      {.name = "output.resume",
       .used_by = kTrain | kInspect,
       .help = "auto: go on from the newest checkpoint in output.dir",
       .value = text(SHARDORA_AT(output.resume), "auto, never, or a checkpoint's folder")},
      {.name = "output.overwrite",
       .used_by = kTrain | kMerge,
       .help = "start anew in a folder that has a run",
       .value = yes_no(SHARDORA_AT(output.overwrite))},
      {.name = "output.background_save",
       .used_by = kTrain,
       .help = "write checkpoints while training goes on",
       .value = yes_no(SHARDORA_AT(output.background_save))},
  };
}

Keys command_keys() {
  return {
      {.name = "merge.dtype",
       .used_by = kMerge,
       .help = "type of the merged weights; base: each as in the base model",
       .value = word(SHARDORA_AT(merge.dtype), {"base", "float32", "bfloat16", "float16"})},
      {.name = "merge.verify",
       .used_by = kMerge,
       .help = "compare the logits of the adapted and of the merged model",
       .value = yes_no(SHARDORA_AT(merge.verify))},
      {.name = "eval.choices",
       .used_by = kEval,
       .help = "multiple-choice questions, scored by the likelihood of their options",
       .value = evaluation_sources(SHARDORA_AT(eval.choices))},
      {.name = "eval.scores",
       .used_by = kEval,
       .may_differ = true,
       .help = "file for the log-likelihoods of the options, a JSON line a question",
       .value = text(SHARDORA_AT(eval.scores), "a file")},
      {.name = "plan.shape",
       .used_by = kPlan,
       .help = "a model by its name, in the place of model.path",
       .value = text(SHARDORA_AT(plan.shape), "a name such as 8B, 70B or qwen2.5-7B")},
      {.name = "plan.device",
       .used_by = kPlan,
       .help = "what to run on; this: the processor of this machine, which is measured for a few seconds",
       .value = text(SHARDORA_AT(plan.device), "this, or a GPU such as h100")},
      {.name = "plan.devices",
       .used_by = kPlan,
       .help = "ranks, one on each device; of this machine, its ranks share it. All tensor sizes that divide them are "
               "planned, or parallel.tensor alone where it is above 1",
       .value = whole(SHARDORA_AT(plan.devices), from_to(1, 65536))},
      {.name = "plan.device_memory",
       .used_by = kPlan,
       .help = "GiB of a device; 0: all that such a GPU has, or what is free on this machine",
       .value = real(SHARDORA_AT(plan.device_memory), from_to(0, 1e6))},
      {.name = "plan.tokens",
       .used_by = kPlan,
       .help = "tokens of an epoch, for the time of the run where data.train is not given; sequences are then of "
               "data.sequence_length",
       .value = whole(SHARDORA_AT(plan.tokens), from_to(0, 1e15))},
      {.name = "plan.calibration",
       .used_by = kPlan,
       .help = "without effect, kept for older configuration files: this machine is measured for each plan",
       .value = {.expected = "nothing: files of measured speeds are no longer kept, this machine is measured for each "
                             "plan; leave the key out",
                 .store = [](const std::string& given, RunOptions&) { return given.empty(); },
                 .print = [](const RunOptions&) { return std::string(); }}},
      {.name = "generate.prompts",
       .used_by = kGenerate,
       .needed_by = kGenerate,
       .help = "dataset file: each sequence is a prompt",
       .value = text(SHARDORA_AT(generate.prompts), "a dataset file")},
      {.name = "generate.max_new_tokens",
       .used_by = kGenerate,
       .help = "longest continuation; it ends earlier where the model has no positions left",
       .value = whole(SHARDORA_AT(generate.max_new_tokens), from_to(1, 1e8))},
      {.name = "generate.temperature",
       .used_by = kGenerate,
       .help = "divides the logits before a token is drawn; 0: always the most probable token",
       .value = real(SHARDORA_AT(generate.temperature), from_to(0, 1e6))},
      {.name = "generate.top_k",
       .used_by = kGenerate,
       .help = "draw from so many most probable tokens; 0: from all",
       .value = whole(SHARDORA_AT(generate.top_k), from_to(0, 1e9))},
      {.name = "generate.top_p",
       .used_by = kGenerate,
       .help = "draw from the fewest tokens that together are at least so probable, after top_k; 1: from all",
       .value = real(SHARDORA_AT(generate.top_p), {.low = 0, .high = 1, .above_low = true})},
      {.name = "generate.beams",
       .used_by = kGenerate,
       .help = "continuations of a prompt that are followed side by side; above 1: the best by mean log-probability",
       .value = whole(SHARDORA_AT(generate.beams), from_to(1, 256))},
      {.name = "generate.seed",
       .used_by = kGenerate,
       .help = "of drawing; a prompt's tokens depend on it, not on the ranks or on other prompts",
       .value = seed(SHARDORA_AT(generate.seed))},
      {.name = "generate.batch_tokens",
       .used_by = kGenerate,
       .help = "tokens of prompts and continuations that a rank keeps at a time, over all beams: memory against speed",
       .value = whole(SHARDORA_AT(generate.batch_tokens), from_to(1, 1e9))},
      {.name = "generate.stop_tokens",
       .used_by = kGenerate,
       .help = "ids that end a continuation; empty: the model's end-of-sequence tokens",
       .value = token_ids(SHARDORA_AT(generate.stop_tokens))},
  };
}

Keys analyze_keys() {
  return {
      {.name = "analyze.tuned",
       .used_by = kAnalyze,
       .help = "a fully tuned model to compare with the base, in the place of adapter.path",
       .value = text(SHARDORA_AT(analyze.tuned), "a model folder")},
      {.name = "analyze.checkpoints",
       .used_by = kAnalyze,
       .help = "all checkpoints of a run, in the place of adapter.path",
       .value = text(SHARDORA_AT(analyze.checkpoints), "the folder of a run")},
      {.name = "analyze.csv",
       .used_by = kAnalyze,
       .help = "table of dM and dD by layer and projection",
       .value = text(SHARDORA_AT(analyze.csv), "a file")},
  };
}

Keys doctor_keys() {
  return {
      {.name = "doctor.timeout_seconds",
       .used_by = kDoctor,
       .help = "the longest that all tests together may take; then each host says what hangs there, and the exit "
               "status is 69",
       .value = real(SHARDORA_AT(doctor.timeout_seconds), from_to(1, 86400))},
  };
}

#undef SHARDORA_AT

Keys all_keys() {
  Keys all;
  for (auto* section : {model_keys, adapter_keys, data_keys, length_keys, optimizer_keys, parallel_keys, output_keys,
                        command_keys, analyze_keys, doctor_keys}) {
    for (OptionKey& key : section()) all.push_back(std::move(key));
  }
  return all;
}

}  // namespace

const std::vector<OptionKey>& option_table() {
  static const Keys table = all_keys();
  return table;
}

}  // namespace shardora
