// A model folder: config.json, the index, and two files that the index may name; or one file, where there is no index.
#include "runtime/formats/model_weights.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

constexpr std::int64_t kMostShardedLayers = 16;  // ten tensors each would only cost time

void put_files(const Scratch& scratch, const std::vector<std::string_view>& parts) {
  if (parts.size() == 2) scratch.put("model.safetensors", safetensors_bytes(parts[1]));
  if (parts.size() < 3) return;
  scratch.put("model.safetensors.index.json", parts[1]);
  scratch.put("a.safetensors", safetensors_bytes(parts[2]));
  if (parts.size() == 4) scratch.put("b.safetensors", safetensors_bytes(parts[3]));
}

}  // namespace

void weights(std::string_view input) {
  const Scratch scratch;
  const std::vector<std::string_view> parts = split_parts(input, 4);
  put_files(scratch, parts);
  accepted([&] {
    const ModelConfig config = parse_model_config(std::string(parts[0]), "config.json");
    if (config.num_hidden_layers > kMostShardedLayers) return;
    const ModelWeights weights(scratch.path(), config);
    std::size_t laid_out = 0;
    for (const auto& [file, tensors] : weights.layout()) laid_out += tensors.size();
    require(laid_out == weights.names().size(), "tensors are missing from the layout");
    require(!weights.fingerprint().empty(), "no fingerprint");
    for (const NamedShape& tensor : expected_tensors(config)) {
      require(weights.file_of(tensor.name).entry(tensor.name).shape == tensor.shape, "a tensor of another shape");
    }
  });
}

}  // namespace shardora::fuzz
