#include "launch/commands/inspect.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "launch/commands/commands.h"
#include "launch/commands/result.h"
#include "runtime/io/model_folder.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

ordered_json inspect_datasets(const std::vector<DataSource>& sources, std::int64_t vocabulary) {
  ordered_json all = ordered_json::array();
  for (const DataSource& source : sources) all.push_back(inspect_dataset(source.path, vocabulary));
  return all;
}

bool is_checkpoint(const std::filesystem::path& folder) { return std::filesystem::exists(folder / "manifest.json"); }

}  // namespace

ExitStatus run_inspect(const RunOptions& options, const Machine& machine) {
  ordered_json result = {{"command", "inspect"}};
  std::int64_t vocabulary = std::numeric_limits<std::int32_t>::max();
  if (!options.model.path.empty()) {
    result["model"] = inspect_model(options.model.path);
    vocabulary = read_model_config(options.model.path).vocab_size;
  }
  std::string checkpoint = options.output.resume;
  if (checkpoint == "auto" || checkpoint == "never") checkpoint.clear();
  if (!options.adapter.path.empty()) {
    if (is_checkpoint(options.adapter.path)) {
      checkpoint = options.adapter.path;
    } else {
      result["adapter"] = inspect_adapter(options.adapter.path);
    }
  }
  if (!checkpoint.empty()) {
    result["checkpoint"] = inspect_checkpoint(checkpoint);
    const std::filesystem::path adapter = std::filesystem::path(checkpoint) / "adapter";
    if (std::filesystem::exists(adapter)) result["adapter"] = inspect_adapter(adapter);
  }
  if (!options.data.train.empty()) result["train"] = inspect_datasets(options.data.train, vocabulary);
  if (!options.data.eval.empty()) result["eval"] = inspect_datasets(options.data.eval, vocabulary);
  print_result(machine, result);
  return ExitStatus::kDone;
}

}  // namespace shardora
