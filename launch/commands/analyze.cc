// analyze: a table by projection, the correlation and the slope of dM over dD, and every layer's figures as CSV.
#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/jobs/analyze/analyze.h"
#include "runtime/adapter/decomposition.h"
#include "runtime/comm/agreement.h"
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

ordered_json number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(); }

ordered_json describe(const std::string& name, const Points& points) {
  const Trend line = trend(points.directions, points.magnitudes);
  const auto count = static_cast<double>(points.magnitudes.size());
  double magnitude = 0, direction = 0;
  for (const double value : points.magnitudes) magnitude += value / count;
  for (const double value : points.directions) direction += value / count;
  fmt::print("  {:<10} {:>7} {:>13.6g} {:>13.6g} {:>12} {:>12}\n", name, points.magnitudes.size(), magnitude, direction,
             std::isfinite(line.correlation) ? fmt::format("{:.3f}", line.correlation) : "-",
             std::isfinite(line.slope) ? fmt::format("{:.4g}", line.slope) : "-");
  return {{"points", points.magnitudes.size()},
          {"mean_delta_m", magnitude},
          {"mean_delta_d", direction},
          {"correlation", number(line.correlation)},
          {"slope", number(line.slope)}};
}

std::string csv_text(const Analysis& analysis) {
  std::string text(kHeader);
  for (const AnalyzedModule& row : analysis.modules) {
    text += fmt::format("{},{},{},{},{:.17g},{:.17g},{:.17g}\n", row.step, row.layer, row.projection(), row.module,
                        row.magnitude, row.direction, row.base_magnitude);
  }
  return text;
}

// A file of the user's own stays.
void require_own_csv(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return;
  if (std::filesystem::is_regular_file(path) && read_text(path).starts_with(kHeader)) return;
  refuse(ExitStatus::kOutputBusy, "analyze.csv = {} is not a table of analyze: choose another file, or remove it",
         printable(path.string()));
}

ordered_json report(const RunOptions& options, const Analysis& analysis) {
  fmt::print("{}: {} layers and checkpoints, vectors are {}\n  {:<10} {:>7} {:>13} {:>13} {:>12} {:>12}\n",
             analysis.method, analysis.modules.size(), analysis.output_axis ? "rows" : "columns", "", "points",
             "mean dM", "mean dD", "correlation", "slope dM/dD");
  Points all;
  std::map<std::string, Points> by_projection;
  for (const AnalyzedModule& module : analysis.modules) {
    all.add(module);
    by_projection[module.projection()].add(module);
  }
  ordered_json projections = ordered_json::object();
  for (const auto& [name, points] : by_projection) projections[name] = describe(name, points);
  ordered_json result = {{"command", "analyze"},
                         {"method", analysis.method},
                         {"magnitude_axis", analysis.output_axis ? "output" : "input"}};
  result.update(describe("all", all));
  result["by_projection"] = std::move(projections);
  if (!options.analyze.csv.empty()) result["csv"] = options.analyze.csv;
  return result;
}

}  // namespace

ExitStatus run_analyze(const RunOptions& options, const Context& context) {
  Communicator& world = *context.grid.world;
  const std::string& csv = options.analyze.csv;
  agree(world, [&] {
    if (world.rank() != 0 || csv.empty()) return;
    require_place("analyze.csv", csv);
    require_own_csv(csv);
  });
  const Analysis analysis = analyze(options, context);
  ordered_json result;
  agree(world, [&] {
    if (world.rank() != 0) return;
    if (!csv.empty()) replace_file(csv, csv_text(analysis));
    result = report(options, analysis);
  });
  print_result(*context.grid.world, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
