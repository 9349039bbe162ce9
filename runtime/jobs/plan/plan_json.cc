// A plan for a script.
#include <nlohmann/json.hpp>

#include "runtime/jobs/plan/plan.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

ordered_json memory_json(const MemoryPlan& memory) {
  ordered_json segments = ordered_json::object();
  for (const MemorySegment& segment : memory.segments) segments[segment.name] = segment.bytes;
  return {{"peak_bytes", memory.peak_bytes()},
          {"resident_bytes", memory.resident_bytes},
          {"largest_tensor_bytes", memory.largest_tensor_bytes},
          {"segments", segments}};
}

ordered_json traffic_json(const StepWork& work) {
  const auto of = [](const Traffic& traffic) {
    return ordered_json{{"calls", traffic.calls}, {"bytes", traffic.bytes}};
  };
  return {{"tensor", of(work.tensor)}, {"tensor_gradients", of(work.tensor_gradients)}, {"data", of(work.data)}};
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
  json["micro_batches"] = split.work.micro_batches;
  if (plan.steps > 0) json["run_seconds"] = plan.steps * split.time.total();
  json["traffic"] = traffic_json(split.work);
  json["disk"] = {{"adapter_bytes", split.disk.adapter_bytes},
                  {"checkpoint_bytes", split.disk.checkpoint_bytes},
                  {"merged_bytes", split.disk.merged_bytes}};
  return json;
}

}  // namespace

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
                       {"shown_speed", plan.shown_speed},
                       {"best", nullptr},
                       {"splits", ordered_json::array()},
                       {"remedies", ordered_json::array()}};
  for (const auto& [kind, count] : plan.trained) json["trained"][kind] = count;
  for (const SplitPlan& split : plan.splits) json["splits"].push_back(split_json(plan, split));
  if (plan.best) {
    json["best"] = split_json(plan, plan.splits[*plan.best]);
    json["best"]["why"] = plan.why;
    json["best"]["as_good"] = ordered_json::array();
    for (const std::size_t index : plan.as_good) {
      json["best"]["as_good"].push_back({{"data", plan.splits[index].data}, {"tensor", plan.splits[index].tensor}});
    }
  }
  for (const Remedy& remedy : plan.remedies) {
    ordered_json one = split_json(plan, remedy.split);
    one["change"] = remedy.change;
    one["devices"] = remedy.ranks;
    json["remedies"].push_back(std::move(one));
  }
  return json;
}

}  // namespace shardora
