#include "runtime/jobs/plan/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "runtime/jobs/plan/calibration.h"
#include "runtime/jobs/plan/choice.h"
#include "runtime/jobs/plan/occupancy.h"
#include "runtime/jobs/plan/shapes.h"
#include "runtime/observe/model_flops.h"
#include "runtime/system/printable.h"
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

PlanDevice this_machine(const RunOptions& options, const std::shared_ptr<MeasuredSpeeds>& speeds) {
  HostMemory memory = read_host_memory();
  if (options.plan.device_memory > 0) {
    memory = {.shared = {.free_bytes = asked_memory(options.plan, 0) * options.plan.devices,
                         .name = "plan.device_memory times plan.devices"},
              .process = {}};
  }
  return {.name = "this machine: " + printable(speeds->processor()),
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

double flops_per_token(const ModelConfig& config, const DryRun& whole, const RunPlan& plan, std::int64_t length) {
  ModelFlops::Training training{.lowest_layer = whole.lowest_trained_layer,
                                .full = plan.trained.front().first == "weights"};
  for (const auto& [kind, count] : plan.trained) {
    if (kind == "A" || kind == "B") training.adapter_elements += count;
  }
  const ModelFlops flops(config, training);
  return (flops.of_sequence(length) + flops.of_targets(length)) / static_cast<double>(length);
}

}  // namespace

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
  std::shared_ptr<MeasuredSpeeds> measured;
  const int threads =
      options.parallel.threads > 0 ? options.parallel.threads * ranks : static_cast<int>(affinity().size());
  if (!on_gpu) {
    measured = std::make_shared<MeasuredSpeeds>(MeasuredSpeeds::Machine{
        .backend = {.threads = threads, .instruction_set = options.parallel.instruction_set},
        .ranks = ranks,
        .weights = {.storage = stored_dtype(options.model), .one_copy = options.model.weight_layouts == "one"},
        .file = options.plan.calibration});
  }
  const Planner planner(options, config,
                        on_gpu ? gpu(known_gpu(options.plan.device), options.plan) : this_machine(options, measured));
  RunPlan plan{.model = options.plan.shape.empty() ? options.model.path : options.plan.shape,
               .device = planner.device().name,
               .devices = ranks,
               .tokens_per_step = planner.workload().tokens_per_step(),
               .steps = planner.workload().steps()};
  const DryRun whole = planner.dry_run_whole();
  for (const NamedShape& tensor : whole.tensors) plan.parameters += Shape(tensor.shape).elements();
  plan.trained = trained_by_kind(whole.parameters);
  plan.flops_per_token = flops_per_token(config, whole, plan, planner.workload().longest());
  for (const int tensor : tensor_sizes(options, ranks)) plan.splits.push_back(planner.evaluate(options, ranks, tensor));
  if (measured) {
    plan.shown_speed = measured->measuring_time().shown_speed(threads, static_cast<int>(affinity().size()));
    plan.warning =
        disturbance(plan.shown_speed, host_load(), static_cast<int>(affinity().size()), options.plan.calibration);
  }
  choose_best(plan);
  const auto refused = [](const SplitPlan& split) { return !split.refused.empty(); };
  if (std::all_of(plan.splits.begin(), plan.splits.end(), refused)) {
    refuse(ExitStatus::kUsage, "plan.devices = {}: {}", ranks, plan.splits.front().refused);
  }
  if (!plan.best) plan.remedies = find_remedies(planner, options, ranks);
  if (measured) measured->save();
  return plan;
}

}  // namespace shardora
