// merge: a Hugging Face folder that any server loads, from a base and an adapter.
#include "runtime/adapter/merge.h"

#include <fmt/format.h>

#include <cmath>

#include "runtime/comm/agreement.h"
#include "runtime/io/files.h"
#include "runtime/io/model_writer.h"
#include "runtime/train/instance.h"
#include "runtime/train/merge_verify.h"

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

class Merger {
 public:
  Merger(Backend& backend, const ModelFiles& files, const ModelOptions& options)
      : backend_(backend), files_(files), options_(options), source_(*files.weights) {
    std::vector<std::string> modules;
    for (const NamedShape& tensor : expected_tensors(files.config)) {
      const bool linear = tensor.shape.size() == 2 && tensor.name.find("_proj.") != std::string::npos;
      if (linear) modules.push_back(tensor.name.substr(0, tensor.name.rfind('.')));
    }
    for (const TargetModule& target : select_targets(files.adapter->config, modules)) targets_[target.name] = target;
    const std::size_t expected = targets_.size() * (files.adapter->config.use_dora ? 3 : 2);
    if (files.adapter->tensors.size() != expected) {
      refuse(ExitStatus::kBadInput, "adapter: {} tensors, its configuration on this model needs {}",
             files.adapter->tensors.size(), expected);
    }
  }

  std::size_t modules() const { return targets_.size(); }

  // The merged tensor in fp32.
  std::vector<float> tensor(const NamedShape& shape) {
    HostTensor base = source_.read(shape, -1, {});
    std::vector<float> values = to_float32(base);
    round_as_stored(options_, shape, values);  // what the adapter was trained on
    const std::string module = shape.name.substr(0, shape.name.rfind('.'));
    const auto target = targets_.find(module);
    if (!shape.name.ends_with(".weight") || target == targets_.end()) return values;
    const PeftConfig& config = files_.adapter->config;
    const std::int64_t out = shape.shape[0], in = shape.shape[1], rank = target->second.rank;
    const bool output_axis = config.magnitude_axis != "input";
    const auto rank_root = config.use_rslora ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank);
    merge_linear(backend_, {.weight = values,
                            .out = out,
                            .in = in,
                            .rank = rank,
                            .a = adapter_tensor(module + ".lora_A", {rank, in}),
                            .b = adapter_tensor(module + ".lora_B", {out, rank}),
                            .magnitude = config.use_dora ? adapter_tensor(module + ".lora_magnitude_vector",
                                                                          {output_axis ? out : in})
                                                         : std::span<float>{},
                            .scale = static_cast<float>(target->second.alpha / rank_root),
                            .output_axis = output_axis});
    return values;
  }

 private:
  std::span<float> adapter_tensor(const std::string& name, const std::vector<std::int64_t>& shape) {
    const auto found = tensors().find(name);
    if (found == tensors().end()) refuse(ExitStatus::kBadInput, "adapter: tensor {} is missing", name);
    if (found->second.shape != shape) {
      refuse(ExitStatus::kBadInput, "adapter: tensor {} has shape {}, this model needs {}: is it for another base?",
             name, to_string(Shape(found->second.shape)), to_string(Shape(shape)));
    }
    return found->second.f32();
  }
  TensorMap& tensors() { return const_cast<TensorMap&>(files_.adapter->tensors); }

  Backend& backend_;
  const ModelFiles& files_;
  const ModelOptions& options_;
  FolderWeights source_;
  std::map<std::string, TargetModule> targets_;
};

void require_new_folder(const fs::path& output, const ModelFiles& files) {
  std::error_code ignored;
  if (fs::exists(output) && fs::equivalent(output, files.folder, ignored)) {
    refuse(ExitStatus::kUsage, "output.dir {} is the base model itself: choose another folder", output.string());
  }
  if (fs::exists(output) && !fs::is_empty(output)) {
    refuse(ExitStatus::kOutputBusy, "output.dir {} is not empty: choose another folder, or remove it", output.string());
  }
}

}  // namespace

MergeSummary merge(const RunOptions& options, const Machine& machine) {
  MergeSummary summary{.output = options.output.dir};
  agree(*machine.grid.world, [&] {
    if (machine.grid.world->rank() != 0) return;
    const ModelFiles files = open_model_files(options);
    if (!files.adapter || !files.weights) {
      refuse(ExitStatus::kUsage, "merge needs model.path with weights and adapter.path");
    }
    require_new_folder(options.output.dir, files);
    Merger merger(machine.backend, files, options.model);
    ModelFolderContent content{.base = files.folder,
                               .layout = files.weights->layout(),
                               .tensors = expected_tensors(files.config),
                               .dtype = storage_of(options.merge.dtype)};
    content.dtype_of = [&](const std::string& name) { return files.weights->file_of(name).entry(name).dtype; };
    write_model_folder(options.output.dir, content, [&](const NamedShape& tensor) {
      const std::vector<float> values = merger.tensor(tensor);
      const std::string dtype = content.dtype.empty() ? content.dtype_of(tensor.name) : content.dtype;
      std::vector<std::byte> bytes = to_storage(values, dtype);
      ++summary.tensors;
      summary.bytes += std::ssize(bytes);
      return bytes;
    });
    summary.merged_modules = static_cast<std::int64_t>(merger.modules());
  });
  if (options.merge.verify) summary.logit_difference = verify_merge(options, machine);
  return summary;
}

}  // namespace shardora
