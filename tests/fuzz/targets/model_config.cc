// config.json, and generation_config.json beside it.
#include "runtime/formats/model_weights.h"
#include "tests/fuzz/harness.h"
#include "tests/fuzz/targets.h"

namespace shardora::fuzz {
namespace {

constexpr std::int64_t kMostLayers = 16;

void require_whole(const ModelConfig& config) {
  require(config.num_key_value_heads > 0 && config.num_attention_heads % config.num_key_value_heads == 0,
          "heads that do not divide");
  require(config.head_dim > 0 && config.head_dim % 2 == 0, "an odd head_dim");
  require(std::ssize(config.sliding_windows) == config.num_hidden_layers, "a window a layer");
  for (const std::int64_t window : config.sliding_windows) require(window >= 0, "a negative window");
  if (config.num_hidden_layers > kMostLayers) return;
  for (const NamedShape& tensor : expected_tensors(config)) {
    std::int64_t elements = 1;
    for (const std::int64_t size : tensor.shape) {
      require(size > 0 && !__builtin_mul_overflow(elements, size, &elements), "a size out of range");
    }
  }
}

}  // namespace

void model_config(std::string_view input) {
  const Scratch scratch;
  const std::vector<std::string_view> parts = split_parts(input, 2);
  scratch.put("config.json", parts[0]);
  if (parts.size() == 2) scratch.put("generation_config.json", parts[1]);
  accepted([&] {
    const ModelConfig config = read_model_config(scratch.path());
    require_whole(config);
    for (const std::int64_t token : read_stop_tokens(scratch.path(), config)) require(token >= 0, "a negative token");
  });
}

}  // namespace shardora::fuzz
