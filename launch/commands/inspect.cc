#include "launch/commands/inspect.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/io/model_folder.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

ordered_json inspect_datasets(const std::vector<DataSource>& sources, const DatasetLimits& limits, Problems& problems) {
  ordered_json all = ordered_json::array();
  for (const DataSource& source : sources) all.push_back(inspect_dataset(source.path, limits, problems));
  return all;
}

void print_problems(const Problems& problems) {
  if (problems.empty()) fmt::print("no problem found\n");
  for (const std::string& problem : problems) fmt::print("problem: {}\n", problem);
}

bool is_checkpoint(const std::filesystem::path& folder) { return std::filesystem::exists(folder / "manifest.json"); }

}  // namespace

ExitStatus run_inspect(const RunOptions& options, const Machine& machine) {
  ordered_json result = {{"command", "inspect"}};
  Problems problems;
  DatasetLimits limits{.vocabulary = std::numeric_limits<std::int32_t>::max(),
                       .longest = std::numeric_limits<std::int64_t>::max()};
  const std::filesystem::path base = options.model.path;
  if (!base.empty()) {
    result["model"] = inspect_model(base);
    const ModelConfig config = read_model_config(base);
    limits = {.vocabulary = config.vocab_size, .longest = config.max_position_embeddings};
  }
  std::string checkpoint = options.output.resume;
  if (checkpoint == "auto" || checkpoint == "never") checkpoint.clear();
  if (!options.adapter.path.empty()) {
    if (is_checkpoint(options.adapter.path)) {
      checkpoint = options.adapter.path;
    } else {
      result["adapter"] = inspect_adapter(options.adapter.path, base, machine.backend, problems);
    }
  }
  if (!checkpoint.empty()) {
    result["checkpoint"] = inspect_checkpoint(checkpoint);
    const std::filesystem::path adapter = std::filesystem::path(checkpoint) / "adapter";
    if (std::filesystem::exists(adapter)) {
      result["adapter"] = inspect_adapter(adapter, base, machine.backend, problems);
    }
  }
  if (!options.data.train.empty()) result["train"] = inspect_datasets(options.data.train, limits, problems);
  if (!options.data.eval.empty()) result["eval"] = inspect_datasets(options.data.eval, limits, problems);
  print_problems(problems);
  result["problems"] = problems;
  print_result(*machine.grid.world, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
