// merge: a Hugging Face folder that any server loads, from a base and an adapter. Each rank writes whole files; what is
// in them does not depend on who writes.
#include "runtime/jobs/merge/merge.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "runtime/comm/agreement.h"
#include "runtime/jobs/merge/merge_verify.h"
#include "runtime/jobs/merge/merged_tensors.h"
#include "runtime/jobs/merge/model_card.h"
#include "runtime/run/staged_folder.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"
#include "runtime/system/proc.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

std::string storage_of(const std::string& dtype) {
  if (dtype == "base") return {};
  if (dtype == "float32") return "F32";
  if (dtype == "bfloat16") return "BF16";
  if (dtype == "float16") return "F16";
  refuse(ExitStatus::kUsage, "merge.dtype = {}: expected base, float32, bfloat16 or float16", dtype);
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  const fs::path relative = fs::weakly_canonical(inner).lexically_relative(fs::canonical(outer));
  return !relative.empty() && *relative.begin() != "..";
}

void require_free(const RunOptions& options, const ModelFiles& files) {
  const fs::path output = options.output.dir;
  if (!fs::exists(output)) return;
  if (fs::equivalent(output, files.folder)) {
    refuse(ExitStatus::kUsage, "output.dir {} is the base model itself: choose another folder",
           printable(output.string()));
  }
  if (!fs::is_directory(output)) {
    refuse(ExitStatus::kOutputBusy, "output.dir {} is a file: choose a folder that does not exist yet",
           printable(output.string()));
  }
  if (fs::is_empty(output)) return;
  if (!options.output.overwrite) {
    refuse(ExitStatus::kOutputBusy,
           "output.dir {} is not empty: choose another folder, or set output.overwrite = true for one that merge made",
           printable(output.string()));
  }
  const bool holds_input = lies_in(files.folder, output) || lies_in(options.adapter.path, output);
  if (holds_input || !has_model_card(output)) {
    refuse(ExitStatus::kOutputBusy, "output.dir {}: overwrite removes only what merge has made, and this {}",
           printable(output.string()), holds_input ? "holds the base or the adapter" : "has no model card of merge");
  }
}

// Adapters are recorded with a path or with a name of the hub; another path to a folder of the same name is taken for
// the same model.
void warn_of_another_base(const RunOptions& options, const Context& context, const std::string& recorded) {
  const auto last = [](const std::string& path) {
    const fs::path folder = fs::path(path + "/").parent_path();
    return folder.filename();
  };
  if (recorded.empty() || last(recorded) == last(options.model.path)) return;
  std::error_code ignored;
  if (fs::equivalent(recorded, options.model.path, ignored)) return;
  context.log.warn(fmt::format(
      "the adapter was trained on {}, and is merged into {}: if that is another model, the result is worthless; "
      "merge.verify cannot tell",
      printable(recorded), printable(options.model.path)));
}

// Whose file is whose: the largest first, each to the rank with the fewest bytes so far.
std::vector<std::size_t> files_of_rank(const ModelFolderContent& content, int rank, int ranks) {
  std::vector<std::size_t> order(content.layout.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return content.bytes_of(a) > content.bytes_of(b); });
  std::vector<std::int64_t> bytes(static_cast<std::size_t>(ranks), 0);
  std::vector<std::size_t> mine;
  for (const std::size_t file : order) {
    const auto least = std::min_element(bytes.begin(), bytes.end());
    *least += content.bytes_of(file);
    if (least - bytes.begin() == rank) mine.push_back(file);
  }
  return mine;
}

ModelFolderContent content_of(const ModelFiles& files, const std::string& dtype) {
  return {.base = files.folder,
          .layout = files.weights->layout(),
          .tensors = expected_tensors(files.config),
          .dtype = storage_of(dtype),
          .dtype_of = [&files](const std::string& name) { return files.weights->file_of(name).entry(name).dtype; }};
}

// This rank's files of the folder. Returns their bytes.
std::int64_t write_files(const fs::path& folder, const ModelFolderContent& content, MergedTensors& merged,
                         const Communicator& world) {
  std::int64_t bytes = 0;
  for (const std::size_t file : files_of_rank(content, world.rank(), world.size())) {
    write_weight_file(folder, content, file, [&](const NamedShape& tensor, const Sink& sink) {
      merged.write(tensor, content.stored_as(tensor.name), sink);
    });
    bytes += content.bytes_of(file);
  }
  return bytes;
}

}  // namespace

MergeSummary merge(const RunOptions& options, const Context& context) {
  Communicator& world = *context.grid.world;
  const bool leads = world.rank() == 0;
  MergeSummary summary{.output = options.output.dir};
  const ModelFiles files = open_model_files(options, context);
  std::optional<MergedTensors> merged;
  std::optional<StagedFolder> staged;
  agree(world, [&] {
    if (!files.adapter || !files.weights) {
      refuse(ExitStatus::kUsage, "merge needs model.path with weights and adapter.path");
    }
    merged.emplace(context.backend, files, options.model);
    if (leads) require_free(options, files);
  });
  warn_of_another_base(options, context, files.adapter->config.base_model_name_or_path);
  agree(world, [&] {
    if (leads) staged.emplace(options.output.dir);
  });
  const fs::path folder = world.broadcast(leads ? staged->path().string() : std::string(), 0);
  const ModelFolderContent content = content_of(files, options.merge.dtype);
  const double begin = monotonic_seconds();
  std::int64_t bytes = 0;
  agree(world, [&] { bytes = write_files(folder, content, *merged, world); });
  agree(world, [&] {
    if (leads) write_companions(folder, content);
  });
  summary.tensors = std::ssize(content.tensors);
  summary.merged_modules = merged->modules();
  summary.bytes = world.all_reduce(bytes, Reduction::kSum);
  summary.seconds = monotonic_seconds() - begin;
  if (options.merge.verify) summary.logit_difference = verify_merge(options, context, folder);
  agree(world, [&] {
    if (!leads) return;
    write_new_file(folder / kModelCard, model_card(options, files.adapter->config, summary));
    staged->publish();
  });
  return summary;
}

nlohmann::ordered_json to_json(const MergeSummary& summary) {
  nlohmann::ordered_json result = {{"command", "merge"},         {"output", summary.output},
                                   {"tensors", summary.tensors}, {"merged_modules", summary.merged_modules},
                                   {"bytes", summary.bytes},     {"seconds", summary.seconds}};
  if (summary.logit_difference) result["logit_difference"] = *summary.logit_difference;
  return result;
}

}  // namespace shardora
