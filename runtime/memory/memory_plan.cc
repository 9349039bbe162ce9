#include "runtime/memory/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/check.h"

namespace shardora {
namespace {

constexpr std::size_t kNamed = 3;  // segments in a refusal

std::string mib(std::int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / static_cast<double>(1 << 20));
}

std::vector<MemorySegment> largest_first(std::vector<MemorySegment> segments) {
  std::stable_sort(segments.begin(), segments.end(),
                   [](const MemorySegment& a, const MemorySegment& b) { return a.bytes > b.bytes; });
  return segments;
}

// Which keys make this segment smaller.
std::string remedy(const MemoryPlan& plan, const std::string& segment) {
  if (segment == "activations" && plan.training) {
    return "lower train.micro_batch_tokens, set train.recompute = selective or full, or raise parallel.tensor";
  }
  if (segment == "activations" || segment == "scratch" || segment == "batch" || segment == "logits") {
    return "lower train.micro_batch_tokens, or raise parallel.tensor";
  }
  if (segment == "weights" && plan.float32_frozen) return "set model.dtype = bfloat16, or raise parallel.tensor";
  return "raise parallel.tensor";  // parameters, gradients, moments, norms
}

// Divided instead of multiplied, which could overflow.
bool host_fits(const MemoryPlan& plan, const HostMemory& memory, int ranks_on_host) {
  return plan.growth_bytes() <= memory.shared.free_bytes / ranks_on_host;
}

}  // namespace

std::int64_t MemoryPlan::run_bytes() const {
  std::int64_t total = 0;
  for (const MemorySegment& segment : segments) total += segment.bytes;
  return total;
}

std::int64_t MemoryPlan::growth_bytes() const {
  if (on_device) return run_bytes();
  return kLibrariesBytes + std::max(run_bytes(), loading_bytes + largest_tensor_bytes);
}

std::string to_text(const MemoryPlan& plan) {
  std::string text = fmt::format("{} of a rank: peak {} expected", plan.on_device ? "device memory" : "memory",
                                 mib(plan.peak_bytes()));
  const auto row = [&](const std::string& name, std::int64_t bytes) {
    text += fmt::format("\n  {:<28} {:>14}", name, mib(bytes));
  };
  for (const MemorySegment& segment : largest_first(plan.segments)) row(segment.name, segment.bytes);
  if (plan.on_device) {
    row("context and workspaces", plan.resident_bytes);
    return text;
  }
  row("program, MPI and data", plan.resident_bytes);
  row("libraries at work", MemoryPlan::kLibrariesBytes);
  row("(largest tensor, at loading)", plan.largest_tensor_bytes);
  return text;
}

bool fits(const MemoryPlan& plan, const HostMemory& memory, int ranks_on_host) {
  return host_fits(plan, memory, ranks_on_host) && plan.growth_bytes() <= memory.process.free_bytes;
}

void require_fits(const MemoryPlan& plan, const HostMemory& memory, int ranks_on_host) {
  if (fits(plan, memory, ranks_on_host)) return;
  const std::int64_t growth = plan.growth_bytes();
  const bool of_process = host_fits(plan, memory, ranks_on_host);
  const std::vector<MemorySegment> segments = largest_first(plan.segments);
  std::string named;
  for (std::size_t i = 0; i < std::min(kNamed, segments.size()); ++i) {
    named += fmt::format("{}{} {}", i == 0 ? "" : ", ", segments[i].name, mib(segments[i].bytes));
  }
  const MemoryLimit& limit = of_process ? memory.process : memory.shared;
  const std::string ranks =
      of_process || ranks_on_host == 1 ? "" : fmt::format(" for each of {} ranks on this host", ranks_on_host);
  refuse(ExitStatus::kOutOfMemory, "not enough memory: this needs {}{} ({}), there are {} ({}): {}", mib(growth), ranks,
         named, mib(limit.free_bytes), limit.name,
         segments.empty() ? std::string("free some memory") : remedy(plan, segments.front().name));
}

}  // namespace shardora
