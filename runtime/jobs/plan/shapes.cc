#include "runtime/jobs/plan/shapes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace shardora {
namespace {

struct Preset {
  const char *name, *family;
  std::int64_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocabulary, positions;
  bool tied;
};

// Llama: TinyStories (260K to 110M), 2 (7B, 13B), 3.2 (1B, 3B), 3.1 (8B to 405B); Mistral 7B v0.3; Qwen 2.5 and 3.
constexpr Preset kPresets[] = {
    {"260K", "llama", 64, 172, 5, 8, 4, 8, 512, 512, true},
    {"15M", "llama", 288, 768, 6, 6, 6, 48, 32000, 256, true},
    {"110M", "llama", 768, 2048, 12, 12, 12, 64, 32000, 1024, true},
    {"1B", "llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, true},
    {"3B", "llama", 3072, 8192, 28, 24, 8, 128, 128256, 131072, true},
    {"7B", "llama", 4096, 11008, 32, 32, 32, 128, 32000, 4096, false},
    {"8B", "llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, false},
    {"13B", "llama", 5120, 13824, 40, 40, 40, 128, 32000, 4096, false},
    {"70B", "llama", 8192, 28672, 80, 64, 8, 128, 128256, 131072, false},
    {"405B", "llama", 16384, 53248, 126, 128, 8, 128, 128256, 131072, false},
    {"mistral-7B", "mistral", 4096, 14336, 32, 32, 8, 128, 32768, 32768, false},
    {"qwen2.5-0.5B", "qwen2", 896, 4864, 24, 14, 2, 64, 151936, 32768, true},
    {"qwen2.5-1.5B", "qwen2", 1536, 8960, 28, 12, 2, 128, 151936, 32768, true},
    {"qwen2.5-7B", "qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 32768, false},
    {"qwen2.5-32B", "qwen2", 5120, 27648, 64, 40, 8, 128, 152064, 32768, false},
    {"qwen2.5-72B", "qwen2", 8192, 29568, 80, 64, 8, 128, 152064, 32768, false},
    {"qwen3-0.6B", "qwen3", 1024, 3072, 28, 16, 8, 128, 151936, 40960, true},
    {"qwen3-4B", "qwen3", 2560, 9728, 36, 32, 8, 128, 151936, 40960, true},
    {"qwen3-8B", "qwen3", 4096, 12288, 36, 32, 8, 128, 151936, 40960, false},
    {"qwen3-32B", "qwen3", 5120, 25600, 64, 64, 8, 128, 151936, 40960, false},
};

// Through the parser, so that the rest is as the family has it.
ModelConfig config_of(const Preset& preset) {
  const std::string text = fmt::format(
      R"({{"model_type":"{}","hidden_size":{},"intermediate_size":{},"num_hidden_layers":{},"num_attention_heads":{},)"
      R"("num_key_value_heads":{},"head_dim":{},"vocab_size":{},"max_position_embeddings":{},)"
      R"("tie_word_embeddings":{},"torch_dtype":"bfloat16"{}}})",
      preset.family, preset.hidden, preset.intermediate, preset.layers, preset.heads, preset.kv_heads, preset.head_dim,
      preset.vocabulary, preset.positions, preset.tied,
      preset.family == std::string_view("mistral") ? R"(,"sliding_window":null)" : "");
  return parse_model_config(text, preset.name);
}

}  // namespace

std::vector<std::string> shape_names() {
  std::vector<std::string> names;
  std::transform(std::begin(kPresets), std::end(kPresets), std::back_inserter(names),
                 [](const Preset& preset) { return preset.name; });
  return names;
}

ModelConfig shape_preset(const std::string& name, const std::string& key) {
  for (const Preset& preset : kPresets) {
    if (name == preset.name) return config_of(preset);
  }
  refuse(ExitStatus::kUsage, "{} = {}: expected one of {}", key, name, fmt::join(shape_names(), ", "));
}

}  // namespace shardora
