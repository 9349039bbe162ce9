// config.json: each family's defaults, both spellings, and a refusal by name for what is not computed.
#include "runtime/formats/model_config.h"

#include <nlohmann/json.hpp>

#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

using nlohmann::json;

// A small config of a family, with `changes` merged in; a value "remove" takes the key out.
ModelConfig config_of(const std::string& family, const std::string& changes = "{}") {
  json document = {{"model_type", family},     {"hidden_size", 64},
                   {"intermediate_size", 172}, {"num_hidden_layers", 3},
                   {"num_attention_heads", 8}, {"num_key_value_heads", 4},
                   {"vocab_size", 512},        {"max_position_embeddings", 256}};
  const json changed = json::parse(changes);
  for (const auto& [key, value] : changed.items()) {
    document[key] = value;
    if (value == "remove") document.erase(key);
  }
  return parse_model_config(document.dump(), "config.json");
}

void expect_config_refused(const std::string& family, const std::string& changes, const std::string& part) {
  SCOPED_TRACE(family + changes);
  expect_refused([&] { config_of(family, changes); }, ExitStatus::kBadInput, part);
  expect_refused([&] { config_of(family, changes); }, ExitStatus::kBadInput, "config.json");
}

TEST(ModelConfig, TakesEachFamilysDefaultsForWhatIsAbsent) {
  const auto bare = [](const std::string& family) {
    return parse_model_config("{\"model_type\":\"" + family + "\"}", "config.json");
  };
  const ModelConfig llama = bare("llama"), mistral = bare("mistral"), qwen2 = bare("qwen2"), qwen3 = bare("qwen3");
  EXPECT_EQ(llama.num_key_value_heads, 32);
  EXPECT_EQ(mistral.num_key_value_heads, 8);
  EXPECT_EQ(qwen2.num_key_value_heads, 32);
  EXPECT_EQ(qwen3.num_key_value_heads, 32);
  for (const ModelConfig& config : {llama, mistral, qwen2, qwen3}) {
    EXPECT_EQ(config.hidden_size, 4096);
    EXPECT_EQ(config.head_dim, 128);
    EXPECT_EQ(config.rope_theta, 10000);
    EXPECT_EQ(config.rms_norm_eps, 1e-6);
    EXPECT_EQ(config.initializer_range, 0.02);
    EXPECT_FALSE(config.tie_word_embeddings);
    EXPECT_EQ(config.dtype, "");
  }
  EXPECT_EQ(llama.intermediate_size, 11008);
  EXPECT_EQ(mistral.intermediate_size, 14336);
  EXPECT_EQ(qwen3.intermediate_size, 22016);
  EXPECT_EQ(llama.vocab_size, 32000);
  EXPECT_EQ(qwen2.vocab_size, 151936);
  EXPECT_EQ(llama.max_position_embeddings, 2048);
  EXPECT_EQ(mistral.max_position_embeddings, 131072);
  EXPECT_EQ(llama.bos_token_id, 1);
  EXPECT_EQ(llama.eos_token_ids, std::vector<std::int64_t>{2});
  EXPECT_FALSE(qwen2.bos_token_id.has_value());
  EXPECT_TRUE(qwen2.eos_token_ids.empty());
  EXPECT_EQ(config_of("llama", R"({"num_key_value_heads":"remove"})").num_key_value_heads, 8);
  EXPECT_EQ(config_of("mistral", R"({"num_key_value_heads":null})").num_key_value_heads, 8);
}

TEST(ModelConfig, HeadDimIsDerivedOrTheFamilysOrGiven) {
  EXPECT_EQ(config_of("llama").head_dim, 8);
  EXPECT_EQ(config_of("llama", R"({"head_dim":null})").head_dim, 8);
  EXPECT_EQ(config_of("mistral", R"({"head_dim":32})").head_dim, 32);
  EXPECT_EQ(config_of("qwen3").head_dim, 128);
  expect_config_refused("qwen3", R"({"head_dim":null})", "head_dim is null");
  expect_config_refused("llama", R"({"hidden_size":60})", "multiple of num_attention_heads 8");
  expect_config_refused("llama", R"({"hidden_size":60,"head_dim":8})", "multiple of num_attention_heads 8");
  EXPECT_EQ(config_of("qwen3", R"({"hidden_size":60})").head_dim, 128);
  expect_config_refused("mistral", R"({"head_dim":7})", "even number");
  expect_config_refused("llama", R"({"hidden_size":24})", "even number");
  expect_config_refused("llama", R"({"num_key_value_heads":3})", "a divisor of num_attention_heads 8");
  expect_config_refused("mistral", R"({"num_attention_heads":4,"num_key_value_heads":"remove"})", "is missing");
}

TEST(ModelConfig, BiasesFollowTheFamily) {
  const ModelConfig llama = config_of("llama", R"({"attention_bias":true,"mlp_bias":true})");
  EXPECT_TRUE(llama.attention_bias && llama.attention_output_bias && llama.mlp_bias);
  const ModelConfig qwen2 = config_of("qwen2");
  EXPECT_TRUE(qwen2.attention_bias);
  EXPECT_FALSE(qwen2.attention_output_bias || qwen2.mlp_bias || qwen2.query_key_norm);
  const ModelConfig qwen3 = config_of("qwen3", R"({"attention_bias":true})");
  EXPECT_TRUE(qwen3.attention_bias && qwen3.attention_output_bias && qwen3.query_key_norm);
  const ModelConfig plain = config_of("mistral");
  EXPECT_FALSE(plain.attention_bias || plain.attention_output_bias || plain.mlp_bias);
  expect_config_refused("qwen2", R"({"attention_bias":false})", "attention_bias is false, expected true");
  expect_config_refused("mistral", R"({"attention_bias":true})", "attention_bias is true, expected false");
  expect_config_refused("qwen3", R"({"mlp_bias":true})", "mlp_bias is true, expected false");
}

TEST(ModelConfig, RotaryEmbeddingsInBothSpellings) {
  const char* older = R"({"rope_theta":500000,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,
                          "high_freq_factor":4,"original_max_position_embeddings":128}})";
  const char* newer = R"({"rope_parameters":{"rope_type":"llama3","rope_theta":500000.0,"factor":8.0,
                          "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":128}})";
  for (const char* text : {older, newer}) {
    const ModelConfig config = config_of("llama", text);
    EXPECT_EQ(config.rope_scaling, RopeScaling::kLlama3);
    EXPECT_EQ(config.rope_theta, 500000);
    EXPECT_EQ(config.rope_factor, 8);
    EXPECT_EQ(config.rope_original_max_position_embeddings, 128);
  }
  const ModelConfig linear = config_of("llama", R"({"rope_scaling":{"type":"linear","factor":2.5}})");
  EXPECT_EQ(linear.rope_scaling, RopeScaling::kLinear);
  EXPECT_EQ(linear.rope_factor, 2.5);
  EXPECT_EQ(config_of("llama", R"({"rope_scaling":null,"rope_theta":7})").rope_theta, 7);
  EXPECT_EQ(config_of("llama", R"({"rope_scaling":{"type":"default"}})").rope_scaling, RopeScaling::kNone);
  const ModelConfig without = config_of("llama", R"({"rope_scaling":{"rope_type":"llama3","factor":8,
                                                     "low_freq_factor":1,"high_freq_factor":4}})");
  EXPECT_EQ(without.rope_original_max_position_embeddings, 256);
}

TEST(ModelConfig, WhereBothSpellingsOfRotaryEmbeddingsAreThereTheNewerThetaWinsAndScalingsMustAgree) {
  EXPECT_EQ(config_of("llama", R"({"rope_theta":5,"rope_parameters":{"rope_theta":7}})").rope_theta, 7);
  EXPECT_EQ(config_of("llama", R"({"rope_theta":5,"rope_parameters":{"rope_type":"default"}})").rope_theta, 5);
  EXPECT_EQ(config_of("llama", R"({"rope_scaling":{"type":"linear","factor":2},
                                   "rope_parameters":{"rope_type":"linear","factor":2}})")
                .rope_factor,
            2);
  expect_config_refused("llama", R"({"rope_scaling":{"type":"linear","factor":2},
                                     "rope_parameters":{"rope_type":"linear","factor":4}})",
                        "remove one of them");
  expect_config_refused("llama", R"({"rope_scaling":{"type":"linear","factor":2},
                                     "rope_parameters":{"rope_type":"linear","factor":2,"rope_theta":7}})",
                        "remove one of them");
}

TEST(ModelConfig, RefusesRotaryEmbeddingsItDoesNotCompute) {
  for (const char* type : {"dynamic", "yarn", "longrope", "su", "mrope", "proportional"}) {
    expect_config_refused("qwen2", fmt::format(R"({{"rope_scaling":{{"type":"{}","factor":2}}}})", type),
                          "supported types default, linear, llama3");
  }
  expect_config_refused("llama", R"({"rope_scaling":{"type":"linear"}})", "rope_scaling: factor is missing");
  expect_config_refused("llama", R"({"rope_scaling":{"type":"linear","factor":0}})", "factor is 0");
  expect_config_refused("llama", R"({"rope_scaling":{"type":"linear","factor":2,"beta_fast":3}})", "beta_fast is 3");
  expect_config_refused("llama", R"({"rope_scaling":[2]})", "a JSON object is expected");
  expect_config_refused("llama", R"({"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,
                                     "high_freq_factor":4}})",
                        "more than low_freq_factor");
  expect_config_refused("llama", R"({"rope_scaling":{"rope_type":"llama3","factor":8,"high_freq_factor":4}})",
                        "low_freq_factor is missing");
  expect_config_refused("llama", R"({"rope_parameters":{"full_attention":{"rope_theta":7}}})", "full_attention is");
  expect_config_refused("llama", R"({"partial_rotary_factor":0.5})", "partial_rotary_factor is 0.5");
  expect_config_refused("llama", R"({"rope_parameters":{"partial_rotary_factor":0.5}})",
                        "partial_rotary_factor is 0.5");
  expect_config_refused("llama", R"({"rope_theta":0})", "rope_theta is 0");
  expect_config_refused("llama", R"({"original_max_position_embeddings":64})",
                        "original_max_position_embeddings is 64");
}

TEST(ModelConfig, SlidingWindowsFollowTheFamily) {
  using Windows = std::vector<std::int64_t>;
  EXPECT_EQ(config_of("llama").sliding_windows, (Windows{0, 0, 0}));
  EXPECT_EQ(config_of("mistral").sliding_windows, (Windows{4096, 4096, 4096}));
  EXPECT_EQ(config_of("mistral", R"({"sliding_window":null})").sliding_windows, (Windows{0, 0, 0}));
  EXPECT_EQ(config_of("mistral", R"({"sliding_window":17})").sliding_windows, (Windows{17, 17, 17}));
  for (const char* family : {"qwen2", "qwen3"}) {
    const auto windows = [&](const char* changes) { return config_of(family, changes).sliding_windows; };
    EXPECT_EQ(windows(R"({"sliding_window":17,"max_window_layers":0})"), (Windows{0, 0, 0}));
    EXPECT_EQ(windows(R"({"use_sliding_window":true,"sliding_window":17,"max_window_layers":1})"),
              (Windows{0, 17, 17}));
    EXPECT_EQ(windows(R"({"use_sliding_window":true,"max_window_layers":2})"), (Windows{0, 0, 4096}));
    EXPECT_EQ(windows(R"({"use_sliding_window":true,"sliding_window":17})"), (Windows{0, 0, 0}));  // from layer 28
    EXPECT_EQ(windows(R"({"use_sliding_window":true,"sliding_window":null,"max_window_layers":0})"),
              (Windows{0, 0, 0}));
    EXPECT_EQ(windows(R"({"use_sliding_window":true,"sliding_window":17,
                          "layer_types":["sliding_attention","full_attention","sliding_attention"]})"),
              (Windows{17, 0, 17}));
    expect_config_refused(family, R"({"layer_types":["full_attention","full_attention","sliding_attention"]})",
                          "no window is in use");
    expect_config_refused(family, R"({"layer_types":["full_attention"]})", "a list of 3 types");
    expect_config_refused(family, R"({"layer_types":["full_attention","full_attention","linear_attention"]})",
                          "full_attention and sliding_attention only");
  }
  expect_config_refused("mistral", R"({"sliding_window":0})", "sliding_window is 0");
  expect_config_refused("mistral", R"({"layer_types":["full_attention","sliding_attention","full_attention"]})",
                        "the same type for all layers");
  expect_config_refused("llama", R"({"sliding_window":17})", "none in this family");
  expect_config_refused("llama", R"({"use_sliding_window":true})", "false in this family");
}

TEST(ModelConfig, TheNewerSpellingOfTheTypeWins) {
  EXPECT_EQ(config_of("llama", R"({"torch_dtype":"bfloat16"})").dtype, "bfloat16");
  EXPECT_EQ(config_of("llama", R"({"dtype":"float16","torch_dtype":"bfloat16"})").dtype, "float16");
  EXPECT_EQ(config_of("llama", R"({"dtype":null,"torch_dtype":"float32"})").dtype, "float32");
  expect_config_refused("llama", R"({"dtype":"float8_e4m3fn"})", "float32, bfloat16 or float16");
}

TEST(ModelConfig, TokensAreNumbersListsOrNull) {
  EXPECT_EQ(config_of("llama", R"({"eos_token_id":[7,8]})").eos_token_ids, (std::vector<std::int64_t>{7, 8}));
  EXPECT_EQ(config_of("llama", R"({"eos_token_id":7})").eos_token_ids, (std::vector<std::int64_t>{7}));
  EXPECT_TRUE(config_of("llama", R"({"eos_token_id":null})").eos_token_ids.empty());
  EXPECT_FALSE(config_of("llama", R"({"bos_token_id":null})").bos_token_id.has_value());
  EXPECT_EQ(config_of("qwen2", R"({"bos_token_id":9})").bos_token_id, 9);
  expect_config_refused("llama", R"({"eos_token_id":[7,-8]})", "eos_token_id");
  expect_config_refused("llama", R"({"eos_token_id":-1})", "eos_token_id");
  expect_config_refused("llama", R"({"bos_token_id":4294967296})", "bos_token_id");
}

TEST(ModelConfig, RefusesUnknownFamiliesListingThoseItKnows) {
  expect_config_refused("gemma2", "{}", "one of the supported families llama, mistral, qwen2, qwen3");
  expect_config_refused("Llama", "{}", "supported families");
  expect_refused([] { parse_model_config("{}", "config.json"); }, ExitStatus::kBadInput, "model_type is missing");
  expect_refused([] { parse_model_config("[]", "config.json"); }, ExitStatus::kBadInput, "object is expected");
}

TEST(ModelConfig, RefusesValuesThatItDoesNotCompute) {
  expect_config_refused("llama", R"({"hidden_act":"gelu"})", "hidden_act is \"gelu\", expected silu");
  expect_config_refused("llama", R"({"quantization_config":{"quant_method":"gptq"}})", "quantization_config");
  expect_config_refused("llama", R"({"compression_config":{"a":1}})", "compression_config");
  expect_config_refused("llama", R"({"attention_dropout":0.1})", "attention_dropout is 0.1, expected 0");
  expect_config_refused("llama", R"({"is_encoder_decoder":true})", "is_encoder_decoder");
  expect_config_refused("qwen2", R"({"use_mrope":true})", "use_mrope");
  EXPECT_NO_THROW(config_of("llama", R"({"attention_dropout":0.0,"quantization_config":null,"hidden_act":"silu"})"));
}

TEST(ModelConfig, RangesAreCheckedBeforeAnythingIsMultiplied) {
  for (const char* key : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "num_key_value_heads", "max_position_embeddings", "head_dim"}) {
    for (const char* value : {"0", "-1", "9223372036854775807", "1e3", "\"8\"", "true"}) {
      expect_config_refused("qwen2", fmt::format(R"({{"{}":{}}})", key, value), std::string(key) + " is ");
    }
  }
  expect_config_refused("llama", R"({"rms_norm_eps":-1})", "rms_norm_eps");
  expect_config_refused("llama", R"({"initializer_range":2})", "initializer_range");
  expect_config_refused("llama", R"({"tie_word_embeddings":1})", "tie_word_embeddings");
}

}  // namespace
}  // namespace shardora
