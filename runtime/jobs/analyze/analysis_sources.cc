#include "runtime/jobs/analyze/analysis_sources.h"

#include <algorithm>
#include <charconv>

#include "kernels/check.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

// step-N -> N; -1 for other names.
std::int64_t step_in_name(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return -1;
  std::int64_t step = -1;
  const char* const end = name.data() + name.size();
  return std::from_chars(name.data() + kPrefix.size(), end, step).ptr == end ? step : -1;
}

std::vector<AnalysisSource> checkpoints_of(const fs::path& run) {
  std::vector<AnalysisSource> sources;
  if (fs::is_directory(run / "checkpoints")) {
    for (const fs::directory_entry& entry : fs::directory_iterator(run / "checkpoints")) {
      const std::int64_t step = step_in_name(entry.path().filename().string());
      if (step < 0) continue;
      const bool is_model = fs::exists(entry.path() / "model");
      sources.push_back({entry.path() / (is_model ? "model" : "adapter"), is_model, step});
    }
  }
  if (sources.empty()) {
    refuse(ExitStatus::kBadInput,
           "analyze.checkpoints = {}: no checkpoints/step-N in it; expected the folder of a run with "
           "output.checkpoint_every above 0 and output.keep as many as are wanted",
           printable(run.string()));
  }
  std::sort(sources.begin(), sources.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return sources;
}

}  // namespace

std::vector<AnalysisSource> analysis_sources(const RunOptions& options) {
  // A checkpoint is taken for what is in it.
  const auto inside = [](const fs::path& path, const char* part) {
    return fs::exists(path / part) ? path / part : path;
  };
  const AnalyzeOptions& asked = options.analyze;
  if (!asked.checkpoints.empty()) return checkpoints_of(asked.checkpoints);
  if (!asked.tuned.empty()) return {{.path = inside(asked.tuned, "model"), .is_model = true}};
  return {{.path = inside(options.adapter.path, "adapter")}};
}

}  // namespace shardora
