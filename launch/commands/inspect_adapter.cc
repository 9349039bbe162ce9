// An adapter folder: method, rank, targets, and for each module the norm of B and the spread of m. A checkpoint's
// manifest.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "launch/commands/inspect.h"
#include "runtime/io/json.h"
#include "runtime/io/peft_adapter.h"
#include "runtime/train/checkpoints.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kB = ".lora_B", kM = ".lora_magnitude_vector";

double frobenius_norm(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return std::sqrt(sum);
}

ordered_json describe_module(PeftAdapter& adapter, const std::string& module) {
  HostTensor& b = adapter.tensors.at(module + std::string(kB));
  ordered_json row = {{"module", module}, {"shape_b", b.shape}, {"norm_b", frobenius_norm(b.f32())}};
  const auto m = adapter.tensors.find(module + std::string(kM));
  if (m == adapter.tensors.end() || m->second.f32().empty()) return row;
  const std::span<const float> values = m->second.f32();
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  row["m_min"] = *std::min_element(values.begin(), values.end());
  row["m_mean"] = sum / static_cast<double>(values.size());
  row["m_max"] = *std::max_element(values.begin(), values.end());
  return row;
}

void print_module(const ordered_json& row) {
  fmt::print("  {:<48} |B| {:<12.6g}", printable(row.at("module").get<std::string>()), row.at("norm_b").get<double>());
  if (row.contains("m_mean")) {
    fmt::print(" m {:.6g} to {:.6g}, mean {:.6g}", row.at("m_min").get<double>(), row.at("m_max").get<double>(),
               row.at("m_mean").get<double>());
  }
  fmt::print("\n");
}

}  // namespace

ordered_json inspect_adapter(const std::filesystem::path& folder) {
  PeftAdapter adapter = read_peft_adapter(folder);
  const PeftConfig& config = adapter.config;
  ordered_json result = {{"path", folder.string()},     {"method", config.use_dora ? "dora" : "lora"},
                         {"rank", config.rank},         {"alpha", config.alpha},
                         {"rslora", config.use_rslora}, {"dropout", config.dropout}};
  result["targets"] =
      config.target_pattern.empty() ? ordered_json(config.target_modules) : ordered_json(config.target_pattern);
  std::int64_t parameters = 0;
  result["modules"] = ordered_json::array();
  for (auto& [name, tensor] : adapter.tensors) {
    parameters += static_cast<std::int64_t>(tensor.f32().size());
    if (name.ends_with(kB)) {
      result["modules"].push_back(describe_module(adapter, name.substr(0, name.size() - kB.size())));
    }
  }
  result["parameters"] = parameters;
  fmt::print("adapter {}: {}, rank {}, alpha {}, targets {}, {} modules, {} parameters\n", printable(folder.string()),
             result["method"].get<std::string>(), config.rank, config.alpha, printable(result["targets"].dump()),
             result["modules"].size(), parameters);
  for (const ordered_json& row : result["modules"]) print_module(row);
  return result;
}

ordered_json inspect_checkpoint(const std::filesystem::path& folder) {
  const Manifest manifest = Checkpoints::open(folder).manifest;  // verifies every file's checksum
  ordered_json result = {{"path", folder.string()},
                         {"step", manifest.step},
                         {"world", manifest.world},
                         {"threads", manifest.threads},
                         {"instruction_set", manifest.instruction_set}};
  const std::string& configuration = manifest.configuration_json;
  result["configuration"] = configuration.empty() ? ordered_json() : parse_json(configuration, folder.string());
  fmt::print("checkpoint {}: whole; step {}, written by {} at {}\n", printable(folder.string()), manifest.step,
             printable(manifest.world), printable(manifest.instruction_set));
  return result;
}

}  // namespace shardora
