// A model folder: family, sizes, parameters, types of the stored weights.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "runtime/formats/model_weights.h"
#include "runtime/jobs/inspect/inspect.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

std::int64_t elements(const std::vector<std::int64_t>& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) product *= size;
  return product;
}

std::int64_t count_parameters(const ModelConfig& config) {
  std::int64_t count = 0;
  for (const NamedShape& tensor : expected_tensors(config)) count += elements(tensor.shape);
  return count;
}

// Weights, or a list of such as should be there.
bool has_weights(const std::filesystem::path& folder) {
  const auto names_weights = [](const auto& entry) {
    return entry.path().extension() == ".safetensors" || entry.path().filename() == "model.safetensors.index.json";
  };
  const std::filesystem::directory_iterator entries(folder);
  return std::any_of(begin(entries), end(entries), names_weights);
}

// Parameters by the type that they are stored in; empty for a folder without weights.
ordered_json stored_types(const std::filesystem::path& folder, ModelConfig& config, Problems& problems) {
  ordered_json types = ordered_json::object();
  if (!has_weights(folder)) {
    problems.notes.push_back(fmt::format("model {}: has no *.safetensors; plan and model.init = random need none",
                                         printable(folder.string())));
    return types;
  }
  std::map<std::string, std::int64_t> counts;
  std::optional<ModelWeights> weights(std::in_place, folder, config);
  if (weights->has_another_head()) problems.notes.push_back("model " + use_stored_head(folder, config, weights));
  for (const std::string& name : weights->names()) {
    const TensorEntry& entry = weights->file_of(name).entry(name);
    counts[entry.dtype] += elements(entry.shape);
  }
  for (const auto& [dtype, count] : counts) types[dtype] = count;
  return types;
}

}  // namespace

ordered_json inspect_model(const std::filesystem::path& folder, Problems& problems) {
  ModelConfig config = read_model_config(folder);
  const ordered_json stored = stored_types(folder, config, problems);
  ordered_json model = {{"path", folder.string()},
                        {"family", config.model_type},
                        {"parameters", count_parameters(config)},
                        {"stored", stored},
                        {"num_hidden_layers", config.num_hidden_layers},
                        {"hidden_size", config.hidden_size},
                        {"intermediate_size", config.intermediate_size},
                        {"num_attention_heads", config.num_attention_heads},
                        {"num_key_value_heads", config.num_key_value_heads},
                        {"head_dim", config.head_dim},
                        {"vocab_size", config.vocab_size},
                        {"max_position_embeddings", config.max_position_embeddings},
                        {"tie_word_embeddings", config.tie_word_embeddings},
                        {"dtype", config.dtype}};
  fmt::print("model {}\n", printable(folder.string()));
  for (const auto& [key, value] : model.items()) {
    if (key != "path")
      fmt::print("  {:<26}{}\n", key, value.is_string() ? printable(value.get<std::string>()) : value.dump());
  }
  return model;
}

}  // namespace shardora
