#include "runtime/run/run_records.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/formats/config_file.h"
#include "runtime/run/checkpoints.h"
#include "runtime/system/files.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfiguration = "config.resolved.cfg";

// The lines of metrics.jsonl, by their steps.
struct Figures {
  std::map<std::int64_t, double> losses;
  std::map<std::int64_t, std::map<std::string, double>> evaluations;
};

Figures read_figures(const fs::path& file) {
  Figures figures;
  std::istringstream lines(read_text(file, std::int64_t{1} << 30));
  for (std::string line; std::getline(lines, line);) {
    const json value = json::parse(line, nullptr, false);  // a torn last line is no object
    if (!value.is_object() || !value.contains("step") || !value["step"].is_number_integer()) continue;
    const auto step = value["step"].get<std::int64_t>();
    const auto number = [&](const char* key) { return value.contains(key) && value[key].is_number(); };
    if (number("loss")) figures.losses[step] = value["loss"];
    if (number("eval_loss")) figures.evaluations[step][value.value("eval_name", "")] = value["eval_loss"];
  }
  return figures;
}

std::int64_t best_step(const Figures& figures) {
  std::int64_t best = 0;
  double lowest = std::numeric_limits<double>::infinity();
  for (const auto& [step, sets] : figures.evaluations) {
    double sum = 0;
    for (const auto& [name, loss] : sets) sum += loss;
    if (sum / static_cast<double>(sets.size()) >= lowest) continue;
    lowest = sum / static_cast<double>(sets.size());
    best = step;
  }
  return best;
}

void take_figures(const Figures& figures, RunRecords& records) {
  const auto loss = figures.losses.upper_bound(records.step);
  if (loss != figures.losses.begin()) records.loss = std::prev(loss)->second;
  const auto evaluation = figures.evaluations.find(records.step);
  if (evaluation != figures.evaluations.end()) records.evaluation_losses = evaluation->second;
}

RunRecords read_records(const fs::path& run, std::optional<std::int64_t> checkpoint) {
  RunRecords records{.folder = run};
  try {
    for (auto& [key, value] : parse_config(read_text(run / kConfiguration), kConfiguration)) {
      records.configuration[key] = std::move(value);
    }
  } catch (const Error&) {  // as of a version that did not quote values: the figures are still true
    records.configuration.clear();
  }
  if (!fs::exists(run / "metrics.jsonl")) return records;
  const Figures figures = read_figures(run / "metrics.jsonl");
  const bool best = records.value("train.save_best") == "true" && !figures.evaluations.empty();
  const std::int64_t last = figures.losses.empty() ? 0 : figures.losses.rbegin()->first;
  records.step = checkpoint.value_or(best ? best_step(figures) : last);
  take_figures(figures, records);
  return records;
}

}  // namespace

std::string RunRecords::value(const std::string& key) const {
  const auto found = configuration.find(key);
  return found == configuration.end() ? std::string() : found->second;
}

std::optional<RunRecords> records_of(const fs::path& adapter) {
  try {
    fs::path folder = fs::canonical(adapter);
    std::optional<std::int64_t> checkpoint;
    for (int level = 0; level < 3; ++level, folder = folder.parent_path()) {
      if (!checkpoint) checkpoint = Checkpoints::step_of(folder);
      if (fs::exists(folder.parent_path() / kConfiguration)) return read_records(folder.parent_path(), checkpoint);
    }
  } catch (const std::exception&) {  // unreadable records are none: they decide nothing
  }
  return std::nullopt;
}

}  // namespace shardora
