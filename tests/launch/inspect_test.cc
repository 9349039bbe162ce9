// What inspect says of a dataset, an adapter and a model folder that the test has made.
#include "launch/commands/inspect.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/io/peft_adapter.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

class Inspect : public testing::Test {
 protected:
  Inspect() : folder_(fs::temp_directory_path() / ("shardora_inspect_test_" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~Inspect() override { fs::remove_all(folder_); }
  fs::path folder_;
};

template <class T>
HostTensor tensor(const std::vector<T>& values, std::vector<std::int64_t> shape) {
  const auto bytes = std::as_bytes(std::span(values));
  return {dtype_of<T>(), std::move(shape), {bytes.begin(), bytes.end()}};
}

TEST_F(Inspect, CountsADatasetsSequencesTokensTargetsAndLengths) {
  const std::string path = folder_ / "data.safetensors";
  write_safetensors(path,
                    {{"tokens", tensor<std::int32_t>({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {10})},
                     {"offsets", tensor<std::int64_t>({0, 2, 5, 10}, {4})},
                     {"loss_mask", tensor<std::uint8_t>({0, 1, 0, 0, 1, 0, 1, 1, 0, 1}, {10})}},
                    {{"format", "shardora.dataset.v1"}});
  const auto told = inspect_dataset(path, 100);
  EXPECT_EQ(told.at("sequences"), 3);
  EXPECT_EQ(told.at("tokens"), 10);
  EXPECT_EQ(told.at("targets"), 5);
  EXPECT_EQ(told.at("targets_share"), 0.5);
  EXPECT_EQ(told.at("longest"), 5);
  EXPECT_EQ(told.at("lengths").dump(), R"([{"from":2,"to":3,"sequences":2},{"from":4,"to":7,"sequences":1}])");
  EXPECT_THROW(inspect_dataset(path, 10), Error);  // id 10 is not in a vocabulary of 10
}

TEST_F(Inspect, TellsTheNormOfBAndTheSpreadOfMOfEachModule) {
  const std::string module = "model.layers.0.self_attn.q_proj";
  PeftAdapter adapter{
      .config = {.base_model_name_or_path = "m", .rank = 1, .alpha = 2, .use_dora = true, .target_modules = {"q_proj"}},
      .tensors = {}};
  adapter.tensors[module + ".lora_A"] = tensor<float>({1, 1}, {1, 2});
  adapter.tensors[module + ".lora_B"] = tensor<float>({3, 0, -4}, {3, 1});
  adapter.tensors[module + ".lora_magnitude_vector"] = tensor<float>({1, 2, 6}, {3});
  write_peft_adapter(folder_ / "adapter", adapter);
  const auto told = inspect_adapter(folder_ / "adapter");
  EXPECT_EQ(told.at("method"), "dora");
  EXPECT_EQ(told.at("rank"), 1);
  EXPECT_EQ(told.at("parameters"), 8);
  ASSERT_EQ(told.at("modules").size(), 1u);
  const auto& row = told.at("modules").at(0);
  EXPECT_EQ(row.at("module"), module);
  EXPECT_EQ(row.at("norm_b"), 5);
  EXPECT_EQ(row.at("m_min"), 1);
  EXPECT_EQ(row.at("m_mean"), 3);
  EXPECT_EQ(row.at("m_max"), 6);
}

TEST_F(Inspect, CountsTheParametersOfAModelFromItsConfigAlone) {
  std::ofstream(folder_ / "config.json") << R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 17,
    "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "tie_word_embeddings": true})";
  const auto told = inspect_model(folder_);
  // embedding + 2 * (q, k, v, o + gate, up, down + two norms) + last norm
  EXPECT_EQ(told.at("parameters"), 17 * 8 + 2 * (64 + 32 + 32 + 64 + 3 * 96 + 16) + 8);
  EXPECT_EQ(told.at("family"), "llama");
  EXPECT_TRUE(told.at("stored").empty());
}

}  // namespace
}  // namespace shardora
