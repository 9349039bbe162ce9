// What a run is asked to do: plain values with their defaults, section by section as in a config file.
// launch/option_table.cc and option_rules.cc fill and check them; every room reads its own section.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardora {

struct ModelOptions {
  std::string path;
  std::string dtype = "auto";           // storage of frozen weights; CPU: float32
  std::string init = "load";            // or random: config.json alone, with method = full
  std::string weight_layouts = "auto";  // copies of a frozen weight: one, two (fastest for each direction)
};

enum class AdapterMethod : std::uint8_t { kDora, kLora, kFull };
enum class MagnitudeAxis : std::uint8_t { kOutput, kInput };
enum class NormGradient : std::uint8_t { kDetached, kExact };
enum class DropoutScope : std::uint8_t { kInput, kAdapter };

struct AdapterOptions {
  AdapterMethod method = AdapterMethod::kDora;
  std::int64_t rank = 16;
  double alpha = 32;
  bool rslora = false;
  double dropout = 0;
  DropoutScope dropout_scope = DropoutScope::kInput;
  std::vector<std::string> target_modules = {"all-linear"};
  std::vector<std::string> exclude_modules;
  std::vector<std::int64_t> layers;  // empty: all
  std::vector<std::pair<std::string, std::int64_t>> rank_pattern;
  std::vector<std::pair<std::string, double>> alpha_pattern;
  MagnitudeAxis magnitude_axis = MagnitudeAxis::kOutput;
  NormGradient norm_gradient = NormGradient::kDetached;
  std::string path;  // an existing PEFT adapter folder or a checkpoint; empty: fresh
};

struct DataSource {
  std::string name;  // evaluation sets: shown in metrics; empty for a single one
  std::string path;
  double share = 1;  // training mixtures
};

enum class Overlong : std::uint8_t { kError, kTruncate, kDrop };

struct DataOptions {
  std::vector<DataSource> train;
  std::vector<DataSource> eval;
  std::int64_t sequence_length = 0;  // longest allowed; 0: the model's limit
  Overlong overlong = Overlong::kError;
  bool shuffle = true;
  bool packing = true;
};

// What backward makes again instead of keeping it from forward; results are the same to the bit.
enum class Recompute : std::uint8_t {
  kNone,
  kSelective,  // the outputs of RMSNorm and SwiGLU
  kFull,       // all of a layer but its input
};

enum class ScheduleKind : std::uint8_t { kCosine, kLinear, kConstant };

struct TrainOptions {
  std::int64_t steps = 0;  // one of steps and epochs is set
  double epochs = 0;
  std::int64_t global_batch = 32;          // sequences per optimizer step, over all ranks
  std::int64_t micro_batch_tokens = 8192;  // per rank
  Recompute recompute = Recompute::kNone;
  double learning_rate = 2e-4;
  double magnitude_learning_rate = -1;  // below 0: the same
  double b_learning_rate_ratio = 1;     // LoRA+
  double warmup_steps = 0;              // below 1: a share of all steps
  ScheduleKind schedule = ScheduleKind::kCosine;
  double min_learning_rate = 0;
  double weight_decay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip_norm = 1;  // 0: off
  std::uint64_t seed = 0;
  std::int64_t eval_every = 0;  // 0: at the end
  bool save_best = false;
  std::int64_t early_stopping = 0;  // evaluations without gain; 0: off
  double stop_at = 0;               // epoch seconds; 0: no limit
  std::int64_t skip_nonfinite = 0;  // steps in a row without an update where loss or gradient is not finite
  std::int64_t check_every = 100;   // steps between checks of frozen weights and replicas; 0: only where one saves
  bool deterministic = false;       // GPU: only ways that give the same bits each time; the CPU has no others
  bool profile_ranges = false;      // phases, micro-batches and layers by name in NVIDIA's profiler
};

struct ParallelOptions {
  int tensor = 1;  // tensor-parallel size; the data-parallel size is ranks / tensor
  std::string backend = "auto";
  std::string communicator = "auto";     // between devices: nccl, or host: through host memory and MPI
  std::string attention = "auto";        // on devices: cudnn, or refuse; own: no library's
  bool share_devices = false;            // several ranks may compute on one device
  int threads = 0;                       // CPU threads of a rank; 0: the cores in its affinity mask
  std::string bind = "auto";             // keep: leave the launcher's mask as it is
  double timeout_seconds = 120;          // longest time without progress while a peer waits
  double init_timeout_seconds = 600;     // the same until all ranks have met
  bool check_collectives = false;        // ranks compare what they are about to do before each collective
  std::string instruction_set = "auto";  // CPU; auto: the highest level that all ranks' processors have
};

struct OutputOptions {
  std::string dir;
  std::int64_t log_every = 1;
  std::int64_t checkpoint_every = -1;  // optimizer steps; 0: off; -1: about every ten minutes
  std::int64_t keep = 2;
  std::string resume = "auto";  // never, or a checkpoint's path
  bool overwrite = false;
  bool background_save = false;  // files of a checkpoint are written by a thread while training goes on
};

struct MergeOptions {
  std::string dtype = "base";  // or float32, bfloat16, float16
  bool verify = false;         // compares logits of the adapted and the merged model
};

struct EvalOptions {
  std::vector<DataSource> choices;  // files of multiple-choice questions
  std::string scores;               // where the log-likelihoods of their options go, a line a question; empty: nowhere
};

struct GenerateOptions {
  std::string prompts;  // a dataset file: each sequence is a prompt
  std::int64_t max_new_tokens = 128;
  double temperature = 0;                 // 0: the most probable token; else tokens are drawn
  std::int64_t top_k = 0;                 // 0: from all
  double top_p = 1;                       // 1: from all
  std::int64_t beams = 1;                 // above 1: beam search
  std::uint64_t seed = 0;                 // of drawing
  std::int64_t batch_tokens = 8192;       // of prompts and continuations that a rank keeps at a time, over all beams
  std::vector<std::int64_t> stop_tokens;  // empty: the model's end-of-sequence tokens
};

struct PlanOptions {
  std::string shape;            // a preset, in the place of model.path
  std::string device = "this";  // or a GPU's word: device_table.h
  std::int64_t devices = 1;     // ranks: all tensor sizes that divide them are tried, or parallel.tensor above 1
  double device_memory = 0;     // GiB of a device; 0: what the device has, or what is free here
  std::int64_t tokens = 0;      // of one epoch, where data.train is not given
};

struct AnalyzeOptions {
  std::string tuned;        // a fully tuned model's folder, or a checkpoint of method full
  std::string checkpoints;  // the folder of a run: all of its checkpoints
  std::string csv;          // file for every layer's figures; empty: none
};

struct DoctorOptions {
  double timeout_seconds = 60;  // of all its tests together
};

struct RunOptions {
  ModelOptions model;
  AdapterOptions adapter;
  DataOptions data;
  TrainOptions train;
  ParallelOptions parallel;
  OutputOptions output;
  MergeOptions merge;
  EvalOptions eval;
  GenerateOptions generate;
  PlanOptions plan;
  AnalyzeOptions analyze;
  DoctorOptions doctor;
};

}  // namespace shardora
