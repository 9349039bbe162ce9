#include "runtime/jobs/inspect/inspect.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/formats/model_config.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

ordered_json inspect_datasets(const std::vector<DataSource>& sources, const DatasetLimits& limits, Problems& problems) {
  ordered_json all = ordered_json::array();
  for (const DataSource& source : sources) all.push_back(inspect_dataset(source.path, limits, problems));
  return all;
}

// What `look` tells of a part. A broken file ends the look at that part alone.
template <class Look>
void add_part(ordered_json& result, const char* name, Problems& problems, const Look& look) {
  try {
    result[name] = look();
  } catch (const Error& error) {
    if (error.status() != ExitStatus::kBadInput) throw;
    result[name] = nullptr;
    problems.unusable.emplace_back(error.what());
  }
}

bool is_checkpoint(const std::filesystem::path& folder) { return std::filesystem::exists(folder / "manifest.json"); }

void look_at_adapter(const RunOptions& options, const std::filesystem::path& base, Backend& backend,
                     ordered_json& result, Problems& problems) {
  std::filesystem::path adapter = options.adapter.path, checkpoint = options.output.resume;
  if (checkpoint == "auto" || checkpoint == "never") checkpoint.clear();
  if (!adapter.empty() && is_checkpoint(adapter)) checkpoint = std::exchange(adapter, {});
  const auto add_adapter = [&](const std::filesystem::path& folder) {
    add_part(result, "adapter", problems, [&] { return inspect_adapter(folder, base, backend, problems); });
  };
  if (!adapter.empty()) add_adapter(adapter);
  if (checkpoint.empty()) return;
  add_part(result, "checkpoint", problems, [&] { return inspect_checkpoint(checkpoint); });
  if (std::filesystem::exists(checkpoint / "adapter")) add_adapter(checkpoint / "adapter");
}

void print_problems(const Problems& problems) {
  if (problems.unusable.empty() && problems.notes.empty()) fmt::print("no problem found\n");
  for (const std::string& problem : problems.unusable) fmt::print("cannot be used: {}\n", problem);
  for (const std::string& problem : problems.notes) fmt::print("problem: {}\n", problem);
}

}  // namespace

nlohmann::ordered_json inspect(const RunOptions& options, Backend& backend, Problems& problems) {
  ordered_json result = {{"command", "inspect"}};
  DatasetLimits limits{.vocabulary = std::numeric_limits<std::int32_t>::max(),
                       .longest = std::numeric_limits<std::int64_t>::max()};
  std::filesystem::path base = options.model.path;
  if (!base.empty()) {
    add_part(result, "model", problems, [&] {
      const ModelConfig config = read_model_config(base);
      limits = {.vocabulary = config.vocab_size, .longest = config.max_position_embeddings};
      return inspect_model(base, problems);
    });
    if (result["model"].is_null()) base.clear();  // nothing is compared with it
  }
  look_at_adapter(options, base, backend, result, problems);
  const auto add_datasets = [&](const char* name, const std::vector<DataSource>& sources) {
    if (sources.empty()) return;
    add_part(result, name, problems, [&] { return inspect_datasets(sources, limits, problems); });
  };
  add_datasets("train", options.data.train);
  add_datasets("eval", options.data.eval);
  print_problems(problems);
  result["usable"] = problems.unusable.empty();
  result["problems"] = problems.unusable;
  for (const std::string& note : problems.notes) result["problems"].push_back(note);
  return result;
}

}  // namespace shardora
