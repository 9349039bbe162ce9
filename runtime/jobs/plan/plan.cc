#include "runtime/jobs/plan/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "runtime/jobs/plan/measured_speeds.h"
#include "runtime/jobs/plan/shapes.h"
#include "runtime/session/backend_setup.h"
#include "runtime/system/proc.h"
#include "runtime/train/run_report.h"

namespace shardora {
namespace {

constexpr double kGiB = std::int64_t{1} << 30;
// A CUDA context, NCCL's buffers and the backend's workspaces.
constexpr std::int64_t kDeviceResident = std::int64_t{900} << 20;

ModelConfig config_of(const RunOptions& options) {
  return options.plan.shape.empty() ? read_model_config(options.model.path)
                                    : shape_preset(options.plan.shape, "plan.shape");
}

std::int64_t asked_memory(const PlanOptions& plan, std::int64_t otherwise) {
  return plan.device_memory > 0 ? std::llround(plan.device_memory * kGiB) : otherwise;
}

PlanDevice gpu(const DeviceFigures& figures, const PlanOptions& plan) {
  const std::int64_t total = asked_memory(plan, figures.memory_bytes);
  return {.name = std::string(figures.word),
          .gpu = true,
          .memory = {.shared = {.free_bytes = std::max<std::int64_t>(0, total - kDeviceResident),
                                .name = fmt::format("memory of one {}", figures.word)},
                     .process = {}},
          .resident_bytes = kDeviceResident,
          .speeds = std::make_shared<TableSpeeds>(figures)};
}

PlanDevice this_machine(const RunOptions& options, int threads) {
  const FrozenMatrixPlan weights{.storage = stored_dtype(options.model),
                                 .one_copy = options.model.weight_layouts == "one"};
  const auto speeds = std::make_shared<MeasuredSpeeds>(
      BackendOptions{.threads = threads, .instruction_set = options.parallel.instruction_set},
      static_cast<int>(options.plan.devices), weights);
  HostMemory memory = read_host_memory();
  if (options.plan.device_memory > 0) {
    memory = {.shared = {.free_bytes = asked_memory(options.plan, 0) * options.plan.devices,
                         .name = "plan.device_memory times plan.devices"},
              .process = {}};
  }
  return {.name = "this machine: " + speeds->processor(),
          .memory = memory,
          .resident_bytes = resident_memory_bytes(),
          .speeds = speeds};
}

const DeviceFigures& known_gpu(const std::string& word) {
  if (const DeviceFigures* const found = find_device_by_word(word)) return *found;
  std::vector<std::string_view> words = {"this"};
  for (const DeviceFigures& device : device_table()) words.push_back(device.word);
  refuse(ExitStatus::kUsage, "plan.device = {}: expected one of {}", word, fmt::join(words, ", "));
}

void require_divisor(const RunOptions& options) {
  const int tensor = options.parallel.tensor;
  if (options.plan.devices % tensor == 0) return;
  refuse(ExitStatus::kUsage, "parallel.tensor = {} does not divide plan.devices = {}", tensor, options.plan.devices);
}

double flops_per_token(const ModelSizes& sizes, std::int64_t length) {
  const ModelFlops flops(sizes);
  return (flops.of_sequence(length) + flops.of_targets(length)) / static_cast<double>(length);
}

// Of the last minute.
double host_load() {
  double load = 0;
  return getloadavg(&load, 1) == 1 ? load : 0;
}

// The fastest that fits, and why.
void choose_best_split(RunPlan& plan) {
  for (std::size_t i = 0; i < plan.splits.size(); ++i) {
    const SplitPlan& split = plan.splits[i];
    if (split.fits() && (!plan.best || split.tokens_per_second > plan.splits[*plan.best].tokens_per_second)) {
      plan.best = i;
    }
  }
  if (!plan.best) return;
  const double best = plan.splits[*plan.best].tokens_per_second;
  double next = 0, faster = 0;
  for (std::size_t i = 0; i < plan.splits.size(); ++i) {
    const SplitPlan& split = plan.splits[i];
    if (i == *plan.best || !split.refused.empty()) continue;
    double& most = split.fits() ? next : faster;
    most = std::max(most, split.tokens_per_second);
  }
  plan.why = next > 0 ? fmt::format("the fastest that fits, {:.2f} times the next", best / next)
                      : std::string("the only one that fits");
  if (faster > best) plan.why += "; a faster one does not fit";
}

}  // namespace

std::string host_load_warning(double load, int threads, int cores) {
  if (load <= cores - std::min(threads, cores) + 1) return {};  // other work leaves the measured cores idle
  return fmt::format(
      "the machine is busy (load {:.1f} on {} cores) while it is measured: times may be too long; plan again when it "
      "is idle",
      load, cores);
}

std::int64_t RunPlan::trained_parameters() const {
  std::int64_t sum = 0;
  for (const auto& [kind, count] : trained) sum += count;
  return sum;
}

RunPlan make_plan(const RunOptions& asked) {
  RunOptions options = asked;
  const ModelConfig config = config_of(options);
  const bool on_gpu = options.plan.device != "this";
  resolve_dtype(options, on_gpu ? BackendKind::kCuda : BackendKind::kCpu);
  require_divisor(options);
  const int ranks = static_cast<int>(options.plan.devices);
  const int cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const int threads =
      options.parallel.threads > 0 ? options.parallel.threads * ranks : static_cast<int>(affinity().size());
  const Planner planner(options, config,
                        on_gpu ? gpu(known_gpu(options.plan.device), options.plan) : this_machine(options, threads));
  RunPlan plan{.model = options.plan.shape.empty() ? options.model.path : options.plan.shape,
               .device = planner.device().name,
               .devices = ranks,
               .tokens_per_step = planner.workload().tokens_per_step(),
               .steps = planner.workload().steps(),
               .warning = on_gpu ? std::string() : host_load_warning(host_load(), threads, cores)};
  const DryRun whole = planner.dry_run_whole();
  for (const NamedShape& tensor : whole.tensors) plan.parameters += Shape(tensor.shape).elements();
  plan.trained = trained_by_kind(whole.parameters);
  plan.flops_per_token = flops_per_token(whole.sizes, planner.workload().longest());
  for (const int tensor : tensor_sizes(options, ranks)) plan.splits.push_back(planner.evaluate(options, ranks, tensor));
  choose_best_split(plan);
  const auto refused = [](const SplitPlan& split) { return !split.refused.empty(); };
  if (std::all_of(plan.splits.begin(), plan.splits.end(), refused)) {
    refuse(ExitStatus::kUsage, "plan.devices = {}: {}", ranks, plan.splits.front().refused);
  }
  if (!plan.best) plan.fitting_changes = find_fitting_changes(planner, options, ranks);
  return plan;
}

}  // namespace shardora
