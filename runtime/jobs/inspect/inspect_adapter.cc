// An adapter folder: method, rank, targets, and for each module the norm of B and the spread of m. A checkpoint's
// manifest.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "runtime/adapter/folded_modules.h"
#include "runtime/formats/json.h"
#include "runtime/formats/peft_adapter.h"
#include "runtime/jobs/inspect/inspect.h"
#include "runtime/model/stored_rows.h"
#include "runtime/run/checkpoints.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kB = ".lora_B", kM = ".lora_magnitude_vector";

double frobenius_norm(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return std::sqrt(sum);
}

// What m0 was before training: the norms of the base's rows or columns.
class BaseNorms {
 public:
  BaseNorms(const std::filesystem::path& folder, Backend& backend)
      : backend_(backend), config_(read_model_config(folder)), weights_(folder, config_) {}

  // Throws Error(kBadInput) where the adapter does not fit the base. What it has in vain is noted.
  void require_fit(PeftAdapter& adapter, Problems& problems) const {
    for (std::string& line : settle_adapter(adapter, config_, &weights_)) problems.notes.push_back(std::move(line));
    folded_modules(config_, adapter);
  }

  std::vector<double> of(const std::string& module, bool output_axis) const {
    const std::string name = module + ".weight";
    const SafetensorsFile& file = weights_.file_of(name);
    StoredRows stored(backend_, file, {name, file.entry(name).shape});
    std::vector<double> squares(static_cast<std::size_t>(output_axis ? stored.rows() : stored.columns()), 0.0);
    for (std::int64_t first = 0; first < stored.rows(); first += stored.block_rows()) {
      const TensorView rows = stored.read(first);
      for (std::int64_t o = 0; o < rows.size(0); ++o) {
        const std::span<const float> row = rows.rows(o, 1).span<float>();
        for (std::size_t i = 0; i < row.size(); ++i) {
          squares[output_axis ? static_cast<std::size_t>(first + o) : i] += double{row[i]} * double{row[i]};
        }
      }
    }
    for (double& value : squares) value = std::sqrt(value);
    return squares;
  }

 private:
  Backend& backend_;
  ModelConfig config_;
  ModelWeights weights_;
};

void describe_ratio(std::span<const float> m, const std::vector<double>& base, ordered_json& row) {
  double lowest = std::numeric_limits<double>::infinity(), highest = 0, sum = 0, moved = 0;
  for (std::size_t j = 0; j < m.size(); ++j) {
    const double ratio = base[j] > 0 ? m[j] / base[j] : 1;
    lowest = std::min(lowest, ratio);
    highest = std::max(highest, ratio);
    sum += ratio;
    moved += std::abs(ratio - 1);
  }
  const auto count = static_cast<double>(m.size());
  row["m_over_m0"] = {{"min", lowest}, {"mean", sum / count}, {"max", highest}, {"mean_change", moved / count}};
}

ordered_json describe_module(PeftAdapter& adapter, const std::string& module, const BaseNorms* base) {
  HostTensor& b = adapter.tensors.at(module + std::string(kB));
  ordered_json row = {
      {"module", module}, {"layer", layer_of(module)}, {"shape_b", b.shape}, {"norm_b", frobenius_norm(b.f32())}};
  const auto m = adapter.tensors.find(module + std::string(kM));
  if (m == adapter.tensors.end() || m->second.f32().empty()) return row;
  const std::span<const float> values = m->second.f32();
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  row["m_min"] = *std::min_element(values.begin(), values.end());
  row["m_mean"] = sum / static_cast<double>(values.size());
  row["m_max"] = *std::max_element(values.begin(), values.end());
  if (base != nullptr) describe_ratio(values, base->of(module, adapter.config.magnitude_axis != "input"), row);
  return row;
}

void print_module(const ordered_json& row) {
  fmt::print("  {:<48} |B| {:<12.6g}", printable(row.at("module").get<std::string>()), row.at("norm_b").get<double>());
  if (row.contains("m_mean")) {
    fmt::print(" m {:.6g} to {:.6g}, mean {:.6g}", row.at("m_min").get<double>(), row.at("m_max").get<double>(),
               row.at("m_mean").get<double>());
  }
  if (row.contains("m_over_m0")) {
    const ordered_json& ratio = row.at("m_over_m0");
    fmt::print(", m/m0 {:.6g} to {:.6g}", ratio.at("min").get<double>(), ratio.at("max").get<double>());
  }
  fmt::print("\n");
}

// ||B|| of all modules of a layer together.
ordered_json norms_by_layer(const ordered_json& modules) {
  std::map<std::int64_t, double> squares;
  for (const ordered_json& row : modules) {
    const double norm = row.at("norm_b").get<double>();
    squares[row.at("layer").get<std::int64_t>()] += norm * norm;
  }
  ordered_json layers = ordered_json::array();
  for (const auto& [layer, square] : squares) layers.push_back({{"layer", layer}, {"norm_b", std::sqrt(square)}});
  return layers;
}

// As of the servers' documentation: who computes m, or A and B, beside the base.
ordered_json servers(const PeftConfig& config) {
  if (config.magnitude_axis == "input") {
    return {{"served_by", ordered_json::array()}, {"merge_first", {"every server"}}};
  }
  ordered_json served = {"PEFT and transformers", "TensorRT-LLM"};
  if (config.use_dora) return {{"served_by", served}, {"merge_first", {"vLLM", "SGLang", "llama.cpp", "Ollama"}}};
  for (const char* const name : {"vLLM", "SGLang", "llama.cpp (after its convert_lora_to_gguf.py)"}) {
    served.push_back(name);
  }
  return {{"served_by", served}, {"merge_first", {"what loads no adapters"}}};
}

void find_untrained(const ordered_json& modules, const std::string& where, Problems& problems) {
  constexpr double kStill = 1e-6, kFar = 0.5;  // of m0: rounding, and more than training does
  std::int64_t no_direction = 0, still = 0, far = 0;
  for (const ordered_json& row : modules) {
    no_direction += row.at("norm_b").get<double>() == 0 ? 1 : 0;
    if (!row.contains("m_over_m0")) continue;
    const double change = row.at("m_over_m0").at("mean_change").get<double>();
    still += change < kStill ? 1 : 0;
    far += change > kFar ? 1 : 0;
  }
  const auto add = [&](std::int64_t count, const char* what) {
    if (count > 0) problems.notes.push_back(fmt::format("{}: {} of {} modules {}", where, count, modules.size(), what));
  };
  add(no_direction, "have B = 0: they turn no weight, as before the first step");
  add(still, "have m = m0: their magnitudes have not moved");
  add(far, "have an m far from the base's norms: is it an adapter of another base?");
}

}  // namespace

ordered_json inspect_adapter(const std::filesystem::path& folder, const std::filesystem::path& base, Backend& backend,
                             Problems& problems) {
  PeftAdapter adapter = read_peft_adapter(folder);
  const std::string where = "adapter " + printable(folder.string());
  std::optional<BaseNorms> norms;
  if (!base.empty()) {
    try {
      norms.emplace(base, backend);
      norms->require_fit(adapter, problems);
    } catch (const Error& error) {
      norms.reset();
      problems.unusable.push_back(fmt::format("{} does not fit {}: {}", where, printable(base.string()), error.what()));
    }
  }
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
    if (!name.ends_with(kB)) continue;
    const std::string module = name.substr(0, name.size() - kB.size());
    result["modules"].push_back(describe_module(adapter, module, norms ? &*norms : nullptr));
  }
  result["parameters"] = parameters;
  result["layers"] = norms_by_layer(result["modules"]);
  result.update(servers(config));
  fmt::print("adapter {}: {}, rank {}, alpha {}, targets {}, {} modules, {} parameters\n", printable(folder.string()),
             result["method"].get<std::string>(), config.rank, config.alpha, printable(result["targets"].dump()),
             result["modules"].size(), parameters);
  const std::string served = fmt::format("{}", fmt::join(result["served_by"], ", "));
  fmt::print("  served by {}; after merge also by {}\n", served.empty() ? "none" : served,
             fmt::join(result["merge_first"], ", "));
  for (const ordered_json& row : result["modules"]) print_module(row);
  for (const ordered_json& row : result["layers"]) {
    fmt::print("  layer {:<42} |B| {:.6g}\n", row.at("layer").get<std::int64_t>(), row.at("norm_b").get<double>());
  }
  find_untrained(result["modules"], where, problems);
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
  result["files"] = ordered_json::array();
  for (const auto& [name, record] : list_files(folder, true)) {
    result["files"].push_back({{"file", name}, {"bytes", record.bytes}, {"checksum", record.checksum}});
  }
  result["configuration"] = configuration.empty() ? ordered_json() : parse_json(configuration, folder.string());
  fmt::print("checkpoint {}: whole; step {}, written by {} at {}\n", printable(folder.string()), manifest.step,
             printable(manifest.world), printable(manifest.instruction_set));
  for (const ordered_json& file : result["files"]) {
    fmt::print("  {:<48} {:>14} bytes, checksum {}\n", printable(file.at("file").get<std::string>()),
               file.at("bytes").get<std::int64_t>(), file.at("checksum").get<std::string>());
  }
  return result;
}

}  // namespace shardora
