// Whole optimizer steps, by the code that `shardora train` runs, on a model with random weights made in memory: phases,
// tokens/s, model FLOP/s, share of the roofline measured between the steps, memory by segment. The last
// line of standard output is one JSON object. Runs under mpirun as the program does.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/random.h"
#include "runtime/comm/agreement.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/session/backend_setup.h"
#include "runtime/system/proc.h"
#include "runtime/train/step.h"
#include "tests/bench/roofline.h"
#include "tests/bench/train_arguments.h"
#include "tests/runtime/data/dataset_file.h"

namespace shardora::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Measured {
  std::vector<TrainStep::Result> steps;
  std::vector<StepLoad> loads;  // of this rank, one a step
};

// The step's sequences: the given file's, or random tokens of one length, through a file that is gone at once.
Dataset open_data(const TrainArguments& arguments) {
  const std::int64_t vocabulary = arguments.config.vocab_size;
  if (!arguments.data.empty()) return Dataset(arguments.data, vocabulary, arguments.length, Overlong::kTruncate);
  DatasetFile file;
  file.offsets.push_back(0);
  const std::int64_t sequences = arguments.options.train.global_batch;
  for (std::int64_t i = 0; i < sequences * arguments.length; ++i) {
    const std::uint64_t id = random_below(random_key(0, "bench.tokens"), static_cast<std::uint64_t>(i),
                                          static_cast<std::uint64_t>(vocabulary));
    file.tokens.push_back(static_cast<std::int32_t>(id));
  }
  for (std::int64_t k = 1; k <= sequences; ++k) file.offsets.push_back(k * arguments.length);
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / fmt::format("shardora-bench-{}.safetensors", getpid());
  write_dataset(path, file);
  Dataset dataset(path, vocabulary, arguments.length, Overlong::kError);
  std::filesystem::remove(path);
  return dataset;
}

struct MemoryTaken {
  std::int64_t resident_bytes = 0;  // of the process, at most
  std::int64_t device_bytes = 0;    // of a GPU, beside the backend's own: its steps allocate nothing, so the peak
};

class Bench {
 public:
  Bench(const TrainArguments& arguments, const Context& context)
      : arguments_(arguments),
        context_(context),
        dataset_(open_data(arguments)),
        packing_{arguments.options.train.micro_batch_tokens, true},
        sampler_({{.dataset = &dataset_}}, arguments.options.train.global_batch, true, 0),
        schedule_(arguments.options.train, arguments.warmup_steps + arguments.steps),
        model_(arguments.options, context, ModelFiles{.folder = {}, .config = arguments.config},
               ModelUse{.limits = batch_limits(views_, arguments.options.train.global_batch, packing_),
                        .positions = dataset_.longest(),
                        .training = true}),
        step_({.options = arguments.options.train,
               .context = context,
               .model = model_,
               .sampler = sampler_,
               .schedule = schedule_,
               .datasets = views_,
               .packing = packing_}) {}

  Json run() {
    warm_up();
    const MemoryTaken taken{.resident_bytes = peak_memory_bytes(),  // before the floor takes memory of its own
                            .device_bytes = free_before_ - context_.backend.memory().free_bytes};
    Roofline floor(context_.backend, model_.decoder(), batches(1)[0], roofline_types());
    Measured measured;
    Communicator& world = *context_.grid.world;
    for (int i = 1; i <= arguments_.steps; ++i) {
      const std::int64_t step = arguments_.warmup_steps + i;
      measured.loads.push_back(load_of(step));
      world.barrier();  // else a rank would measure its floor beside another's step
      measured.steps.push_back(step_.run(step));
      world.barrier();
      floor.measure();
    }
    Json report = describe();
    add_speed(report, measured, floor);
    for (const auto& [part, seconds] : floor.parts()) report["floor_parts_seconds"][part] = seconds;
    add_memory(report, taken);
    return report;
  }

 private:
  void warm_up() {
    const int steps = std::max(1, arguments_.warmup_steps);
    const double begin = monotonic_seconds();
    for (int i = 1; i <= steps; ++i) step_.run(i);
    const auto passed = [&] { return context_.grid.world->all_reduce(monotonic_seconds() - begin, Reduction::kMax); };
    while (passed() < arguments_.warmup_seconds) step_.run(steps);
  }
  // As the decoder keeps them: a GPU's activations are of the weights' type.
  RooflineTypes roofline_types() const {
    const DType weights = stored_dtype(arguments_.options.model);
    return {.weights = weights, .activations = context_.backend.kind() == BackendKind::kCpu ? DType::kF32 : weights};
  }
  std::vector<Batch> batches(std::int64_t step) const {
    const GridPosition& data = context_.grid.data;
    return micro_batches(sampler_.plan(step).sequences, views_, data.rank, data.size, packing_);
  }
  StepLoad load_of(std::int64_t step) const {
    StepLoad load;
    for (const Batch& batch : batches(step)) {
      load.micro_batches += 1;
      load.tokens += static_cast<double>(batch.size());
      load.targets += static_cast<double>(batch.target_rows.size());
      for (const std::int64_t length : lengths_of(batch)) load.lengths.push_back(length);
    }
    return load;
  }
  Json describe() const;
  void add_speed(Json& report, const Measured& measured, const Roofline& floor) const;
  void add_memory(Json& report, const MemoryTaken& taken);

  const TrainArguments& arguments_;
  const Context& context_;
  std::int64_t free_before_ = context_.backend.memory().free_bytes;
  Dataset dataset_;
  const Dataset* views_[1] = {&dataset_};
  PackingOptions packing_;
  Sampler sampler_;
  Schedule schedule_;
  LoadedModel model_;
  TrainStep step_;
};

Json Bench::describe() const {
  const ModelConfig& c = arguments_.config;
  const AdapterOptions& adapter = arguments_.options.adapter;
  const bool dora = adapter.method == AdapterMethod::kDora;
  return {{"program", "bench_train"},
          {"model",
           {{"hidden", c.hidden_size},
            {"intermediate", c.intermediate_size},
            {"layers", c.num_hidden_layers},
            {"heads", c.num_attention_heads},
            {"kv_heads", c.num_key_value_heads},
            {"vocabulary", c.vocab_size},
            {"tied", c.tie_word_embeddings}}},
          {"method", dora ? "dora" : "lora"},
          {"rank", adapter.rank},
          {"axis", adapter.magnitude_axis == MagnitudeAxis::kOutput ? "output" : "input"},
          {"norm_gradient", adapter.norm_gradient == NormGradient::kExact ? "exact" : "detached"},
          {"dropout", adapter.dropout},
          {"sequences", arguments_.options.train.global_batch},
          {"length", arguments_.length},
          {"micro_batch_tokens", packing_.micro_batch_tokens},
          {"ranks", context_.grid.world->size()},
          {"tensor", context_.grid.tensor.size},
          {"backend", context_.backend.description()},
          {"dtype", arguments_.options.model.dtype},
          {"deterministic", arguments_.options.train.deterministic || context_.backend.kind() == BackendKind::kCpu},
          {"steps", arguments_.steps}};
}

// Figures of the fastest step (per token), and medians over the steps. Phases, FLOPs and floor are rank 0's.
void Bench::add_speed(Json& report, const Measured& measured, const Roofline& floor) const {
  std::vector<double> speeds, flops, shares, floors, seconds;
  double best_share = 0;
  for (std::size_t i = 0; i < measured.steps.size(); ++i) {
    const TrainStep::Result& step = measured.steps[i];
    const StepLoad& load = measured.loads[i];
    seconds.push_back(step.seconds);
    speeds.push_back(static_cast<double>(step.tokens) / step.seconds);
    flops.push_back(floor.flops(load) / step.seconds * 1e-9);
    shares.push_back(floor.median_seconds(load) / step.seconds);
    floors.push_back(static_cast<double>(step.tokens) / floor.median_seconds(load));
    best_share = std::max(best_share, floor.best_seconds(load) / step.seconds);
  }
  const auto both = [](const std::vector<double>& values) {
    return Json{{"best", *std::max_element(values.begin(), values.end())}, {"median", median(values)}};
  };
  report["tokens_per_step"] = measured.steps[0].tokens;
  report["tokens_per_second"] = both(speeds);
  report["model_gflops"] = both(flops);
  report["floor_gflops"] = floor.best_gflops();
  report["floor_tokens_per_second"] = median(floors);
  report["share_of_floor"] = {{"best", best_share}, {"median", median(shares)}};
  report["step_seconds"] = {{"best", *std::min_element(seconds.begin(), seconds.end())}, {"median", median(seconds)}};
  for (std::size_t phase = 0; phase < kPhaseNames.size(); ++phase) {
    std::vector<double> of_phase(measured.steps.size());
    std::transform(measured.steps.begin(), measured.steps.end(), of_phase.begin(),
                   [&](const TrainStep::Result& step) { return step.phases[phase]; });
    report["phases"][std::string(kPhaseNames[phase])] = median(of_phase);
  }
  report["seconds"] = seconds;
  report["loss"] = measured.steps.back().loss;
}

void Bench::add_memory(Json& report, const MemoryTaken& taken) {
  Json segments{{"weights", model_.decoder().weight_bytes()}};
  for (const auto& [segment, bytes] : model_.plan().segments()) segments[segment] = bytes;
  report["memory_bytes"] = segments;
  report["planned_bytes"] = model_.decoder().weight_bytes() + model_.plan().peak_bytes();
  report["resident_peak_bytes"] = taken.resident_bytes;
  report["device_bytes"] = taken.device_bytes;
}

void print_table(const Json& report) {
  const double step = report["step_seconds"]["median"];
  fmt::print("{}\n{} tokens a step, {} steps; times are medians\n\n| phase | ms | share |\n| --- | --- | --- |\n",
             report["backend"].get<std::string>(), report["tokens_per_step"].get<std::int64_t>(),
             report["steps"].get<int>());
  for (const auto& [phase, seconds] : report["phases"].items()) {
    fmt::print("| {} | {:.2f} | {:.1f} % |\n", phase, 1e3 * seconds.get<double>(), 100 * seconds.get<double>() / step);
  }
  const auto line = [](const char* what, const Json& both, const char* unit) {
    fmt::print("{}: {:.4g} best, {:.4g} median{}\n", what, both["best"].get<double>(), both["median"].get<double>(),
               unit);
  };
  fmt::print("| step | {:.2f} | |\n\n", 1e3 * step);
  line("tokens/s", report["tokens_per_second"], "");
  line("model GFLOP/s of a rank (4 x weights x tokens + 7 x layers x width x sum of length^2)", report["model_gflops"],
       "");
  fmt::print("matrix products alone: {:.4g} GFLOP/s; floor: {:.4g} tokens/s\n", report["floor_gflops"].get<double>(),
             report["floor_tokens_per_second"].get<double>());
  line("share of the floor", report["share_of_floor"], "");
  constexpr double kMiB = 1 << 20;
  fmt::print("memory of a rank, MiB: {:.1f} planned, {:.1f} resident at most;",
             report["planned_bytes"].get<double>() / kMiB, report["resident_peak_bytes"].get<double>() / kMiB);
  for (const auto& [segment, bytes] : report["memory_bytes"].items()) {
    fmt::print(" {} {:.1f}", segment, bytes.get<double>() / kMiB);
  }
  fmt::print("\n");
  if (report["device_bytes"] > 0)
    fmt::print("taken of the device: {:.1f} MiB\n", report["device_bytes"].get<double>() / kMiB);
}

void measure(MpiSession& session, const TrainArguments& arguments) {
  const ProcessGrid& grid = session.make_grid(arguments.options.parallel);
  const Binding binding = bind_cores(session, arguments.options.parallel);
  BackendSetup setup(session, arguments.options, grid, binding);
  Log log(session.world().rank(), true);
  const std::atomic<bool> stop = false;
  const Context context{.backend = setup.backend(),
                        .grid = setup.grid(),
                        .log = log,
                        .stop_requested = stop,
                        .resolved_config = {},
                        .ranks_on_host = session.host_local_size(),
                        .ranks_on_device = setup.ranks_on_device()};
  Bench bench(arguments, context);
  Json report = bench.run();
  report["threads"] = binding.threads;
  report["shape"] = arguments.shape;
  report["instruction_set"] = setup.backend().instruction_set();
  if (session.world().rank() != 0) return;
  print_table(report);
  fmt::print("{}\n", report.dump());
}

}  // namespace
}  // namespace shardora::bench

int main(int argc, char** argv) {
  using namespace shardora;
  try {
    const auto arguments = bench::parse_train_arguments(argc, argv);
    if (!arguments) return 0;
    MpiSession session(argc, argv);
    try {
      bench::measure(session, *arguments);
      return 0;
    } catch (const Error& error) {
      fmt::print(stderr, "bench_train: {}\n", error.what());
      if (session.world().size() > 1) session.abort(error.status());
      return static_cast<int>(error.status());
    }
  } catch (const Error& error) {
    fmt::print(stderr, "bench_train: {}\n", error.what());
    return static_cast<int>(error.status());
  }
}
