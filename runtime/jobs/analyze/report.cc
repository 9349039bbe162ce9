#include "runtime/jobs/analyze/report.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/adapter/decomposition.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kHeader = "step,layer,projection,module,delta_m,delta_d,base_magnitude\n";

struct Points {
  std::vector<double> magnitudes, directions;
  void add(const AnalyzedModule& module) {
    magnitudes.push_back(module.magnitude);
    directions.push_back(module.direction);
  }
};

struct Figures {
  std::size_t points = 0;
  double magnitude = 0, direction = 0;  // means
  Trend line;
};

Figures figures_of(const Points& points) {
  Figures figures{.points = points.magnitudes.size(), .line = trend(points.directions, points.magnitudes)};
  const auto count = static_cast<double>(figures.points);
  for (const double value : points.magnitudes) figures.magnitude += value / count;
  for (const double value : points.directions) figures.direction += value / count;
  return figures;
}

// Each projection by its name, then "all".
std::vector<std::pair<std::string, Figures>> rows_of(const Analysis& analysis) {
  Points all;
  std::map<std::string, Points> by_projection;
  for (const AnalyzedModule& module : analysis.modules) {
    all.add(module);
    by_projection[module.projection()].add(module);
  }
  std::vector<std::pair<std::string, Figures>> rows;
  for (const auto& [name, points] : by_projection) rows.emplace_back(name, figures_of(points));
  rows.emplace_back("all", figures_of(all));
  return rows;
}

ordered_json number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(); }

ordered_json to_json(const Figures& figures) {
  return {{"points", figures.points},
          {"mean_delta_m", figures.magnitude},
          {"mean_delta_d", figures.direction},
          {"correlation", number(figures.line.correlation)},
          {"slope", number(figures.line.slope)}};
}

}  // namespace

std::string to_text(const Analysis& analysis) {
  std::string text =
      fmt::format("{}: {} layers and checkpoints, vectors are {}\n  {:<10} {:>7} {:>13} {:>13} {:>12} {:>12}\n",
                  analysis.method, analysis.modules.size(), analysis.output_axis ? "rows" : "columns", "", "points",
                  "mean dM", "mean dD", "correlation", "slope dM/dD");
  for (const auto& [name, row] : rows_of(analysis)) {
    text += fmt::format("  {:<10} {:>7} {:>13.6g} {:>13.6g} {:>12} {:>12}\n", name, row.points, row.magnitude,
                        row.direction,
                        std::isfinite(row.line.correlation) ? fmt::format("{:.3f}", row.line.correlation) : "-",
                        std::isfinite(row.line.slope) ? fmt::format("{:.4g}", row.line.slope) : "-");
  }
  return text;
}

ordered_json to_json(const Analysis& analysis) {
  ordered_json result = {{"command", "analyze"},
                         {"method", analysis.method},
                         {"magnitude_axis", analysis.output_axis ? "output" : "input"}};
  ordered_json projections = ordered_json::object();
  for (const auto& [name, row] : rows_of(analysis)) {
    if (name == "all") {
      result.update(to_json(row));
    } else {
      projections[name] = to_json(row);
    }
  }
  result["by_projection"] = std::move(projections);
  if (!analysis.csv.empty()) result["csv"] = analysis.csv;
  return result;
}

std::string to_csv(const Analysis& analysis) {
  std::string text(kHeader);
  for (const AnalyzedModule& row : analysis.modules) {
    text += fmt::format("{},{},{},{},{:.17g},{:.17g},{:.17g}\n", row.step, row.layer, row.projection(), row.module,
                        row.magnitude, row.direction, row.base_magnitude);
  }
  return text;
}

void require_own_csv(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return;
  if (std::filesystem::is_regular_file(path) && read_text(path).starts_with(kHeader)) return;
  refuse(ExitStatus::kOutputBusy, "analyze.csv = {} is not a table of analyze: choose another file, or remove it",
         printable(path.string()));
}

}  // namespace shardora
