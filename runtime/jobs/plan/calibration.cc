#include "runtime/jobs/plan/calibration.h"

#include <fmt/format.h>

#include <fstream>

#include "runtime/jobs/plan/timed_operations.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

// Sums over a host's ranks through shared memory: no rank is there to measure them with.
constexpr double kLinkBytes = 5e9, kLinkSeconds = 20e-6;

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return printable(line.substr(line.find(':') + 2));
  }
  return "unknown processor";
}

std::string machine_text(const BackendOptions& backend) {
  const std::string level = backend.instruction_set == "auto" ? instruction_sets().back() : backend.instruction_set;
  return fmt::format("{}, {}", processor_name(), level);
}

std::string shape_text(const ProductShape& shape) {
  return fmt::format("{} rows [{},{}]", shape.rows, shape.out, shape.in);
}

}  // namespace

MeasuredSpeeds::MeasuredSpeeds(Machine machine) : machine_(std::move(machine)) {
  measured_.machine = machine_text(machine_.backend);
  if (machine_.file.empty()) return;
  require_place("plan.calibration", machine_.file);
  if (!std::filesystem::exists(machine_.file)) return;
  CalibrationFile before = read_calibration(machine_.file);
  other_ = before.machine != measured_.machine;
  measured_ = std::move(before);
}

MeasuredSpeeds::~MeasuredSpeeds() = default;

Backend& MeasuredSpeeds::backend() {
  if (!backend_) backend_ = make_backend(BackendKind::kCpu, machine_.backend);
  return *backend_;
}

// Of all ranks together: each has its part of it.
double MeasuredSpeeds::known(const std::string& operation, const std::function<double()>& measure) {
  const std::string key = fmt::format("{} threads: {}", machine_.backend.threads, operation);
  auto found = measured_.figures.find(key);
  if (found == measured_.figures.end()) {
    if (other_) {
      refuse(ExitStatus::kMismatch,
             "{}: has no figure for '{}', and cannot be measured here: it is of another machine ({}); plan this run "
             "there once, with the same plan.calibration",
             machine_.file.string(), key, printable(measured_.machine));
    }
    found = measured_.figures.emplace(key, measure()).first;
    changed_ = true;
  }
  return found->second / machine_.ranks;
}

double MeasuredSpeeds::product(const ProductShape& shape, bool forward) {
  const std::string kept = machine_.weights.storage == DType::kBF16 ? "bfloat16"
                           : machine_.weights.one_copy              ? "float32, one copy"
                                                                    : "float32";
  return known(fmt::format("{}, {}, {}", forward ? "product" : "input gradient", kept, shape_text(shape)),
               [&] { return timed_product(backend(), spent_, machine_.weights, shape, forward); });
}

double MeasuredSpeeds::adapter(const ProductShape& shape, std::int64_t rank) {
  return known(fmt::format("adapter of rank {}, {}", rank, shape_text(shape)),
               [&] { return timed_adapter(backend(), spent_, shape, rank); });
}

double MeasuredSpeeds::attention(const AttentionShape& shape, bool forward) {
  return known(fmt::format("attention {}, {} of {} tokens, {} on {} heads of {}", forward ? "forward" : "backward",
                           shape.sequences, shape.length, shape.heads, shape.kv_heads, shape.head_dim),
               [&] { return timed_attention(backend(), spent_, shape, forward); });
}

double MeasuredSpeeds::elementwise(std::int64_t rows, std::int64_t hidden, std::int64_t intermediate) {
  return known(fmt::format("elementwise, {} rows of {} and {}", rows, hidden, intermediate),
               [&] { return timed_elementwise(backend(), spent_, rows, hidden, intermediate); });
}

double MeasuredSpeeds::loss(std::int64_t rows, std::int64_t columns) {
  return known(fmt::format("loss, {} rows of {}", rows, columns),
               [&] { return timed_loss(backend(), spent_, rows, columns); });
}

double MeasuredSpeeds::memory() {
  return known("optimizer", [&] { return timed_optimizer(backend(), spent_); });
}

double MeasuredSpeeds::link(int) { return kLinkBytes; }
double MeasuredSpeeds::latency() { return kLinkSeconds; }

void MeasuredSpeeds::save() const {
  if (changed_ && !machine_.file.empty()) write_calibration(machine_.file, measured_);
}

}  // namespace shardora
