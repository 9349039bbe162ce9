#include "runtime/jobs/plan/plan_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace shardora {
namespace {

using nlohmann::ordered_json;

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.3g} {}", bytes, kUnits[unit]);
}
std::string bytes_text(std::int64_t bytes) { return bytes_text(static_cast<double>(bytes)); }

std::string seconds_text(double seconds) {
  if (seconds < 1) return fmt::format("{:.3g} ms", 1e3 * seconds);
  if (seconds < 120) return fmt::format("{:.3g} s", seconds);
  if (seconds < 7200) return fmt::format("{:.3g} min", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{:.3g} h", seconds / 3600);
  return fmt::format("{:.3g} days", seconds / 86400);
}

std::string head_text(const RunPlan& plan) {
  std::string text =
      fmt::format("{}: {} parameters, {} trained ({:.3g} %):", plan.model, plan.parameters, plan.trained_parameters(),
                  100 * static_cast<double>(plan.trained_parameters()) / static_cast<double>(plan.parameters));
  for (const auto& [kind, count] : plan.trained) text += fmt::format(" {} {}", kind, count);
  return text + fmt::format("\n{} of {}; {:.0f} tokens a step, {:.4g} GFLOP a token\n", plan.devices, plan.device,
                            plan.tokens_per_step, 1e-9 * plan.flops_per_token);
}

std::string split_row(const RunPlan& plan, std::size_t index) {
  const SplitPlan& split = plan.splits[index];
  std::string row = fmt::format("{} {:>4} {:>6}", plan.best == index ? '*' : ' ', split.data, split.tensor);
  if (!split.refused.empty()) return row + "  " + split.refused + "\n";
  row += fmt::format(" {:>10} {:>10} {:>10.0f} {:>12} {:>12}", bytes_text(split.memory.peak_bytes()),
                     seconds_text(split.time.total()), split.tokens_per_second, bytes_text(split.traffic.tensor.bytes),
                     bytes_text(split.traffic.tensor_gradients.bytes + split.traffic.data.bytes));
  return row + (split.fits() ? "\n" : "  does not fit\n");
}

std::string details(const RunPlan& plan, const SplitPlan& split) {
  std::string text =
      to_text(split.memory) +
      fmt::format("\na step: {} in {:.3g} micro-batches a rank; floor of products and attention {}",
                  seconds_text(split.time.total()), split.micro_batches, seconds_text(split.time.floor()));
  for (const auto& [name, part] : kTimeParts) {
    if (split.time.*part > 0) text += fmt::format("\n  {:<28} {:>14}", name, seconds_text(split.time.*part));
  }
  if (plan.steps > 0) {
    text += fmt::format("\nthe run: {:.0f} steps, {:.4g} tokens, {}", plan.steps, plan.steps * plan.tokens_per_step,
                        seconds_text(plan.steps * split.time.total()));
  }
  return text + fmt::format("\ndisk: adapter {}, each checkpoint {}, merged model {}\n",
                            bytes_text(split.disk.adapter_bytes), bytes_text(split.disk.checkpoint_bytes),
                            bytes_text(split.disk.merged_bytes));
}

std::string changes_text(const RunPlan& plan) {
  std::string text = "does not fit\n";
  for (const SplitPlan& split : plan.splits) {
    if (!split.lacks.empty()) text += fmt::format("  tensor {}: {}\n", split.tensor, split.lacks);
  }
  text += plan.fitting_changes.empty() ? "nothing that was tried fits\n" : "what fits:\n";
  for (const auto& [change, ranks, split] : plan.fitting_changes) {
    text += fmt::format("  {}: {} data x {} tensor, {}, {:.0f} tokens/s\n", change, split.data, split.tensor,
                        bytes_text(split.memory.peak_bytes()), split.tokens_per_second);
  }
  return text;
}

ordered_json memory_json(const MemoryPlan& memory) {
  ordered_json segments = ordered_json::object();
  for (const MemorySegment& segment : memory.segments) segments[segment.name] = segment.bytes;
  return {{"peak_bytes", memory.peak_bytes()},
          {"resident_bytes", memory.resident_bytes},
          {"largest_tensor_bytes", memory.largest_tensor_bytes},
          {"segments", segments}};
}

ordered_json traffic_json(const StepTraffic& traffic) {
  const auto of = [](const Traffic& one) { return ordered_json{{"calls", one.calls}, {"bytes", one.bytes}}; };
  return {
      {"tensor", of(traffic.tensor)}, {"tensor_gradients", of(traffic.tensor_gradients)}, {"data", of(traffic.data)}};
}

ordered_json split_json(const RunPlan& plan, const SplitPlan& split) {
  ordered_json json = {{"data", split.data}, {"tensor", split.tensor}};
  if (!split.refused.empty()) {
    json["refused"] = split.refused;
    return json;
  }
  json["fits"] = split.fits();
  if (!split.fits()) json["lacks"] = split.lacks;
  json["memory"] = memory_json(split.memory);
  json["one_copy"] = split.one_copy;
  json["step_seconds"] = split.time.total();
  json["floor_seconds"] = split.time.floor();
  for (const auto& [name, part] : kTimeParts) json["seconds"][name] = split.time.*part;
  json["tokens_per_second"] = split.tokens_per_second;
  json["micro_batches"] = split.micro_batches;
  if (plan.steps > 0) json["run_seconds"] = plan.steps * split.time.total();
  json["traffic"] = traffic_json(split.traffic);
  json["disk"] = {{"adapter_bytes", split.disk.adapter_bytes},
                  {"checkpoint_bytes", split.disk.checkpoint_bytes},
                  {"merged_bytes", split.disk.merged_bytes}};
  return json;
}

}  // namespace

std::string to_text(const RunPlan& plan) {
  std::string text = head_text(plan);
  text += fmt::format("  {:>4} {:>6} {:>10} {:>10} {:>10} {:>12} {:>12}\n", "data", "tensor", "memory", "step",
                      "tokens/s", "tensor sums", "gradients");
  for (std::size_t i = 0; i < plan.splits.size(); ++i) text += split_row(plan, i);
  if (!plan.best) return text + changes_text(plan);
  const SplitPlan& best = plan.splits[*plan.best];
  return text + fmt::format("* {} data x {} tensor: {}\n", best.data, best.tensor, plan.why) + details(plan, best);
}

ordered_json to_json(const RunPlan& plan) {
  ordered_json json = {{"command", "plan"},
                       {"model", plan.model},
                       {"device", plan.device},
                       {"devices", plan.devices},
                       {"parameters", plan.parameters},
                       {"trained_parameters", plan.trained_parameters()},
                       {"trained", ordered_json::object()},
                       {"flops_per_token", plan.flops_per_token},
                       {"tokens_per_step", plan.tokens_per_step},
                       {"steps", plan.steps},
                       {"best", nullptr},
                       {"splits", ordered_json::array()},
                       {"remedies", ordered_json::array()}};
  for (const auto& [kind, count] : plan.trained) json["trained"][kind] = count;
  for (const SplitPlan& split : plan.splits) json["splits"].push_back(split_json(plan, split));
  if (plan.best) {
    json["best"] = split_json(plan, plan.splits[*plan.best]);
    json["best"]["why"] = plan.why;
  }
  for (const FittingChange& change : plan.fitting_changes) {
    ordered_json one = split_json(plan, change.split);
    one["change"] = change.text;
    one["devices"] = change.ranks;
    json["remedies"].push_back(std::move(one));
  }
  return json;
}

}  // namespace shardora
