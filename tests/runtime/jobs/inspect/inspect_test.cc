// What inspect says of a dataset, an adapter and a model folder that the test has made.
#include "runtime/jobs/inspect/inspect.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/formats/model_weights.h"
#include "runtime/formats/peft_adapter.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

class Inspect : public testing::Test {
 protected:
  const TemporaryFolder folder_;
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
  Problems problems;
  const auto told = inspect_dataset(path, {.vocabulary = 100, .longest = 100}, problems);
  EXPECT_EQ(told.at("sequences"), 3);
  EXPECT_EQ(told.at("tokens"), 10);
  EXPECT_EQ(told.at("targets"), 5);
  EXPECT_EQ(told.at("targets_share"), 0.5);
  EXPECT_EQ(told.at("longest"), 5);
  EXPECT_EQ(told.at("lengths").dump(), R"([{"from":2,"to":3,"sequences":2},{"from":4,"to":7,"sequences":1}])");
  EXPECT_EQ(told.at("samples").at(1).dump(), R"({"sequence":1,"tokens":[3,4,5],"mask_runs":[[0,2],[1,1]]})");
  EXPECT_TRUE(problems.notes.empty() && problems.unusable.empty());
  // id 10 is not in a vocabulary of 10
  EXPECT_THROW(inspect_dataset(path, {.vocabulary = 10, .longest = 100}, problems), Error);
}

TEST_F(Inspect, FindsLongSequencesRepeatedOnesAndSuchAsTeachNothing) {
  const std::string path = folder_ / "data.safetensors";
  write_safetensors(path,
                    {{"tokens", tensor<std::int32_t>({1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8}, {11})},
                     {"offsets", tensor<std::int64_t>({0, 3, 6, 7, 11}, {5})},
                     {"loss_mask", tensor<std::uint8_t>({0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1}, {11})}},
                    {{"format", "shardora.dataset.v1"}});
  Problems problems;
  inspect_dataset(path, {.vocabulary = 100, .longest = 3}, problems);
  EXPECT_THAT(problems.notes, testing::ElementsAre(testing::HasSubstr("1 of 4 sequences are longer than the model's 3"),
                                                   testing::HasSubstr("1 of 4 sequences have no target"),
                                                   testing::HasSubstr("1 of 4 sequences repeat an earlier one")));
}

TEST_F(Inspect, AnotherSequenceOfTheSameLengthIsNoRepeat) {
  const std::string path = folder_ / "data.safetensors";
  write_safetensors(
      path,
      {{"tokens", tensor<std::int32_t>({1, 2, 3, 3, 2, 1}, {6})}, {"offsets", tensor<std::int64_t>({0, 3, 6}, {3})}},
      {{"format", "shardora.dataset.v1"}});
  Problems problems;
  inspect_dataset(path, {.vocabulary = 100, .longest = 3}, problems);
  EXPECT_THAT(problems.notes, testing::IsEmpty());
}

class InspectAdapter : public Inspect {
 protected:
  void write(const std::vector<float>& b, const std::vector<float>& m, const std::string& axis = "output") {
    PeftAdapter adapter{.config = {.base_model_name_or_path = "m",
                                   .rank = 1,
                                   .alpha = 2,
                                   .use_dora = !m.empty(),
                                   .target_modules = {"q_proj"},
                                   .magnitude_axis = axis},
                        .tensors = {}};
    adapter.tensors[kModule + ".lora_A"] = tensor<float>({1, 1}, {1, 2});
    adapter.tensors[kModule + ".lora_B"] = tensor<float>(b, {2, 1});
    if (!m.empty()) adapter.tensors[kModule + ".lora_magnitude_vector"] = tensor<float>(m, {2});
    fs::remove_all(folder_ / "adapter");
    write_peft_adapter(folder_ / "adapter", adapter);
  }
  // A model whose q_proj is [[3, 4], [0, 2]].
  fs::path base() {
    fs::create_directories(folder_ / "base");
    std::ofstream(folder_ / "base/config.json") << R"({"model_type": "llama", "hidden_size": 2, "intermediate_size": 2,
      "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 3,
      "max_position_embeddings": 4, "rms_norm_eps": 1e-6, "tie_word_embeddings": true})";
    TensorMap tensors;
    for (const NamedShape& each : expected_tensors(read_model_config(folder_ / "base"))) {
      std::vector<float> values(each.shape.size() == 1 ? 2 : static_cast<std::size_t>(each.shape[0] * 2), 1.0F);
      if (each.name == kModule + ".weight") values = {3, 4, 0, 2};
      tensors.emplace(each.name, tensor<float>(values, each.shape));
    }
    fs::remove(folder_ / "base/model.safetensors");
    write_safetensors(folder_ / "base/model.safetensors", tensors, {{"format", "pt"}});
    return folder_ / "base";
  }
  nlohmann::ordered_json inspect(const fs::path& with = {}) {
    problems_ = {};
    return inspect_adapter(folder_ / "adapter", with, *backend_, problems_);
  }
  const std::string kModule = "model.layers.0.self_attn.q_proj";
  std::unique_ptr<Backend> backend_ = make_backend(BackendKind::kCpu, {.threads = 1});
  Problems problems_;
};

TEST_F(InspectAdapter, TellsTheNormOfBAndTheSpreadOfMOfEachModule) {
  write({3, -4}, {1, 5});
  const auto told = inspect();
  EXPECT_EQ(told.at("method"), "dora");
  EXPECT_EQ(told.at("rank"), 1);
  EXPECT_EQ(told.at("parameters"), 6);
  ASSERT_EQ(told.at("modules").size(), 1u);
  const auto& row = told.at("modules").at(0);
  EXPECT_EQ(row.at("module"), kModule);
  EXPECT_EQ(row.at("norm_b"), 5);
  EXPECT_EQ(row.at("m_min"), 1);
  EXPECT_EQ(row.at("m_mean"), 3);
  EXPECT_EQ(row.at("m_max"), 5);
  EXPECT_EQ(told.at("layers").dump(), R"([{"layer":0,"norm_b":5.0}])");
  EXPECT_TRUE(problems_.notes.empty() && problems_.unusable.empty());
}

TEST_F(InspectAdapter, MeasuresMByTheNormsOfTheBasesRowsOrColumns) {
  write({3, -4}, {4, 3});  // rows have the norms 5 and 2
  auto ratio = inspect(base()).at("modules").at(0).at("m_over_m0");
  EXPECT_NEAR(ratio.at("min"), 0.8, 1e-6);
  EXPECT_NEAR(ratio.at("max"), 1.5, 1e-6);
  EXPECT_NEAR(ratio.at("mean_change"), 0.35, 1e-6);
  EXPECT_TRUE(problems_.notes.empty() && problems_.unusable.empty());
  write({3, -4}, {3, 5}, "input");  // columns 3 and sqrt(20)
  ratio = inspect(base()).at("modules").at(0).at("m_over_m0");
  EXPECT_NEAR(ratio.at("min"), 1, 1e-6);
  EXPECT_NEAR(ratio.at("max"), 5 / std::sqrt(20), 1e-6);
}

TEST_F(InspectAdapter, FindsWhatHasNotMovedAndWhatIsOfAnotherBase) {
  write({0, 0}, {5, 2});
  inspect(base());
  EXPECT_THAT(problems_.notes, testing::ElementsAre(testing::HasSubstr("1 of 1 modules have B = 0"),
                                                    testing::HasSubstr("1 of 1 modules have m = m0")));
  write({3, -4}, {50, 20});
  inspect(base());
  EXPECT_THAT(problems_.notes, testing::ElementsAre(testing::HasSubstr("is it an adapter of another base")));
  write({std::nanf(""), 1}, {5, 3});
  EXPECT_THROW(inspect(), Error);  // by the reader, which every command uses
  write({3, -4}, {5, 3});
  inspect(folder_ / "nowhere");
  EXPECT_THAT(problems_.unusable, testing::ElementsAre(testing::HasSubstr("does not fit")));
}

TEST_F(InspectAdapter, SaysWhatServesIt) {
  const auto served = [&](const char* key) { return inspect().at(key).dump(); };
  write({3, -4}, {1, 5});
  EXPECT_EQ(served("served_by"), R"(["PEFT and transformers","TensorRT-LLM"])");
  EXPECT_THAT(served("merge_first"), testing::HasSubstr("vLLM"));
  write({3, -4}, {});
  EXPECT_THAT(served("served_by"), testing::HasSubstr("vLLM"));
  write({3, -4}, {1, 5}, "input");
  EXPECT_EQ(served("served_by"), "[]");
}

TEST_F(Inspect, CountsTheParametersOfAModelFromItsConfigAlone) {
  std::ofstream(folder_ / "config.json") << R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 12,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 17,
    "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "tie_word_embeddings": true})";
  Problems problems;
  const auto told = inspect_model(folder_.path(), problems);
  // embedding + 2 * (q, k, v, o + gate, up, down + two norms) + last norm
  EXPECT_EQ(told.at("parameters"), 17 * 8 + 2 * (64 + 32 + 32 + 64 + 3 * 96 + 16) + 8);
  EXPECT_EQ(told.at("family"), "llama");
  EXPECT_TRUE(told.at("stored").empty());
  EXPECT_TRUE(problems.unusable.empty());  // a plan, and a training from nothing, can use it
  EXPECT_THAT(problems.notes, testing::ElementsAre(testing::HasSubstr("has no *.safetensors")));
  std::ofstream(folder_ / "model.safetensors.index.json")
      << R"({"weight_map": {"model.norm.weight": "model-00001-of-00001.safetensors"}})";
  EXPECT_THROW(inspect_model(folder_.path(), problems), Error);  // a download that was not finished
}

}  // namespace
}  // namespace shardora
