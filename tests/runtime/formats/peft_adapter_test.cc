// PEFT adapter folders: what is written, what is read, what is refused.
#include "runtime/formats/peft_adapter.h"

#include <nlohmann/json.hpp>

#include "tests/runtime/formats/io_testing.h"

namespace shardora {
namespace {

using nlohmann::json;

HostTensor tensor_of(std::vector<std::int64_t> shape, float value) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  HostTensor tensor{DType::kF32, std::move(shape), std::vector<std::byte>(static_cast<std::size_t>(count) * 4)};
  for (float& element : tensor.f32()) element = value;
  return tensor;
}

const std::string kQ = "model.layers.0.self_attn.q_proj", kV = "model.layers.0.self_attn.v_proj";

// Two modules, [5, 3] and [2, 3], of rank 4.
PeftAdapter small_adapter() {
  PeftAdapter adapter;
  adapter.config = {.rank = 4, .alpha = 8, .use_dora = true, .target_modules = {"q_proj", "v_proj"}};
  adapter.tensors = {{kQ + ".lora_A", tensor_of({4, 3}, 1)},
                     {kQ + ".lora_B", tensor_of({5, 4}, 2)},
                     {kV + ".lora_A", tensor_of({4, 3}, 3)},
                     {kV + ".lora_B", tensor_of({2, 4}, 4)},
                     {kQ + ".lora_magnitude_vector", tensor_of({5}, 5)},
                     {kV + ".lora_magnitude_vector", tensor_of({2}, 6)}};
  return adapter;
}

// A folder with `changes` merged into its config, and its tensors as PEFT names them.
class AdapterFolder {
 public:
  AdapterFolder() {
    write_peft_adapter(folder_ / "a", small_adapter());
    tensors_ = read_safetensors(folder_ / "a/adapter_model.safetensors");
    config_ = json::parse(text_of(folder_ / "a/adapter_config.json"));
  }
  json& config() { return config_; }
  TensorMap& tensors() { return tensors_; }
  TensorMap::mapped_type& at(const std::string& name) { return tensors_.at("base_model.model." + name); }
  PeftAdapter read() {
    remove_all(folder_ / "b");
    create_directory(folder_ / "b");
    write_safetensors(folder_ / "b/adapter_model.safetensors", tensors_, {});
    put(folder_ / "b/adapter_config.json", config_.dump());
    return read_peft_adapter(folder_ / "b");
  }
  void expect_read_refused(const std::string& part) {
    expect_refused([&] { read(); }, ExitStatus::kBadInput, part);
  }

 private:
  TemporaryFolder folder_;
  TensorMap tensors_;
  json config_;
};

PeftConfig read_with(const std::string& changes) {
  AdapterFolder folder;
  folder.config().update(json::parse(changes));
  return folder.read().config;
}

void expect_config_refused(const std::string& changes, const std::string& part) {
  SCOPED_TRACE(changes);
  expect_refused([&] { read_with(changes); }, ExitStatus::kBadInput, part);
}

TEST(PeftAdapter, IsWrittenAsPeftWritesIt) {
  const TemporaryFolder folder;
  PeftAdapter adapter = small_adapter();
  adapter.config.base_model_name_or_path = "/models/é";
  adapter.config.rank_pattern = {{"z", 4}, {"a", 4}};
  adapter.config.alpha_pattern = {{"q_proj", 2.5}};
  write_peft_adapter(folder / "a", adapter);
  EXPECT_EQ(text_of(folder / "a/adapter_config.json"), R"({
  "alora_invocation_tokens": null,
  "alpha_pattern": {
    "q_proj": 2.5
  },
  "arrow_config": null,
  "auto_mapping": null,
  "base_model_name_or_path": "/models/\u00e9",
  "bias": "none",
  "corda_config": null,
  "ensure_weight_tying": false,
  "eva_config": null,
  "exclude_modules": null,
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "kasa_config": null,
  "layer_replication": null,
  "layers_pattern": null,
  "layers_to_transform": null,
  "loftq_config": {},
  "lora_alpha": 8,
  "lora_bias": false,
  "lora_dropout": 0.0,
  "lora_ga_config": null,
  "megatron_config": null,
  "megatron_core": "megatron.core",
  "modules_to_save": null,
  "monteclora_config": null,
  "peft_type": "LORA",
  "peft_version": "0.21.2",
  "qalora_group_size": 16,
  "r": 4,
  "rank_pattern": {
    "z": 4,
    "a": 4
  },
  "revision": null,
  "target_modules": [
    "q_proj",
    "v_proj"
  ],
  "target_parameters": null,
  "task_type": "CAUSAL_LM",
  "trainable_token_indices": null,
  "use_bdlora": null,
  "use_dora": true,
  "use_qalora": false,
  "use_rslora": false,
  "velora_config": null
})");
  const SafetensorsFile file(folder / "a/adapter_model.safetensors");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  std::vector<std::string> names;
  for (const auto& [name, entry] : file.tensors()) names.push_back(name);
  const std::string q = "base_model.model." + kQ, v = "base_model.model." + kV;
  EXPECT_THAT(names, testing::ElementsAre(q + ".lora_A.weight", q + ".lora_B.weight", q + ".lora_magnitude_vector",
                                          v + ".lora_A.weight", v + ".lora_B.weight", v + ".lora_magnitude_vector"));
}

TEST(PeftAdapter, ReadsBackWhatItWroteAndWritesTheSameBytes) {
  const TemporaryFolder folder;
  PeftAdapter adapter = small_adapter();
  adapter.config.dropout = 0.05;
  adapter.config.use_rslora = true;
  adapter.config.exclude_modules = {"o_proj"};
  adapter.config.rank_pattern = {{"v_proj", 4}, {"q_proj", 4}};
  adapter.config.alpha_pattern = {{"v_proj", 1e-5}};
  adapter.config.layers_to_transform = {0};
  adapter.config.dropout_scope = "adapter";
  write_peft_adapter(folder / "a", adapter);
  const PeftAdapter back = read_peft_adapter(folder / "a");
  EXPECT_EQ(back.config.rank, 4);
  EXPECT_EQ(back.config.alpha, 8);
  EXPECT_EQ(back.config.dropout, 0.05);
  EXPECT_TRUE(back.config.use_dora && back.config.use_rslora);
  EXPECT_EQ(back.config.target_modules, adapter.config.target_modules);
  EXPECT_EQ(back.config.exclude_modules, adapter.config.exclude_modules);
  EXPECT_EQ(back.config.rank_pattern, adapter.config.rank_pattern);
  EXPECT_EQ(back.config.alpha_pattern, adapter.config.alpha_pattern);
  EXPECT_EQ(back.config.layers_to_transform, adapter.config.layers_to_transform);
  EXPECT_EQ(back.config.dropout_scope, "adapter");
  for (const auto& [name, tensor] : adapter.tensors) EXPECT_EQ(back.tensors.at(name).bytes, tensor.bytes) << name;
  EXPECT_EQ(back.tensors.size(), adapter.tensors.size());
  write_peft_adapter(folder / "b", back);
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    EXPECT_EQ(text_of(folder / ("a/" + std::string(name))), text_of(folder / ("b/" + std::string(name))));
  }
  expect_refused([&] { write_peft_adapter(folder / "a", adapter); }, ExitStatus::kOutputBusy, "exists");
}

TEST(PeftAdapter, IsNotWrittenWhereItsFolderIsGone) {
  const TemporaryFolder folder;
  expect_refused([&] { write_peft_adapter(folder / "gone/step-1/adapter", small_adapter()); }, ExitStatus::kIo,
                 "gone/step-1/adapter");
  EXPECT_FALSE(exists(folder / "gone"));
}

TEST(PeftAdapter, AllLinearOfSomeLayersIsWrittenAsNames) {
  const TemporaryFolder folder;
  PeftAdapter adapter = small_adapter();
  adapter.config.target_modules.clear();
  adapter.config.target_pattern = "all-linear";
  write_peft_adapter(folder / "all", adapter);
  EXPECT_EQ(read_peft_adapter(folder / "all").config.target_pattern, "all-linear");
  adapter.config.layers_to_transform = {0};
  write_peft_adapter(folder / "some", adapter);
  EXPECT_THAT(read_peft_adapter(folder / "some").config.target_modules, testing::ElementsAre("q_proj", "v_proj"));
}

TEST(PeftAdapter, WhatPeftCannotExpressIsWrittenSoThatPeftRefusesIt) {
  const TemporaryFolder folder;
  PeftAdapter adapter = small_adapter();
  adapter.config.magnitude_axis = "input";
  for (const std::string& module : {kQ, kV}) adapter.tensors[module + ".lora_magnitude_vector"] = tensor_of({3}, 5);
  write_peft_adapter(folder / "a", adapter);
  EXPECT_THAT(text_of(folder / "a/adapter_config.json"), testing::HasSubstr("\"peft_type\": \"SHARDORA\""));
  EXPECT_EQ(read_peft_adapter(folder / "a").config.magnitude_axis, "input");
  expect_config_refused(R"({"shardora_magnitude_axis":"input"})", "peft_type is \"LORA\", expected SHARDORA");
  expect_config_refused(R"({"peft_type":"SHARDORA"})", "peft_type is \"SHARDORA\"");
  expect_config_refused(R"({"shardora_magnitude_axis":"both"})", "output or input");
  expect_config_refused(R"({"shardora_dropout_scope":"both"})", "input or adapter");
}

TEST(PeftAdapter, ReadsEverySpellingOfTheMagnitude) {
  for (const char* spelling :
       {"lora_magnitude_vector.weight", "lora_magnitude_vector.default", "lora_magnitude_vector.default.weight",
        "magnitude", "dora_scale", "weight_m_wdecomp.weight"}) {
    for (const bool column : {false, true}) {
      SCOPED_TRACE(spelling);
      AdapterFolder folder;
      auto node = folder.tensors().extract("base_model.model." + kQ + ".lora_magnitude_vector");
      node.key() = "base_model.model." + kQ + "." + spelling;
      if (column) node.mapped().shape = {5, 1};
      folder.tensors().insert(std::move(node));
      const PeftAdapter adapter = folder.read();
      EXPECT_EQ(adapter.tensors.at(kQ + ".lora_magnitude_vector").shape, std::vector<std::int64_t>{5});
    }
  }
  AdapterFolder twice;
  twice.tensors()["base_model.model." + kQ + ".dora_scale"] = twice.at(kQ + ".lora_magnitude_vector");
  twice.expect_read_refused("is there twice, in two spellings");
}

TEST(PeftAdapter, ConvertsOtherFloatTypesToFloat32) {
  const auto converted = [](DType dtype, const std::vector<std::uint8_t>& element) {
    AdapterFolder folder;
    HostTensor& magnitude = folder.at(kV + ".lora_magnitude_vector");
    magnitude.dtype = dtype;
    magnitude.bytes.clear();
    for (int i = 0; i < 2; ++i) {
      for (const std::uint8_t byte : element) magnitude.bytes.push_back(std::byte{byte});
    }
    return folder.read().tensors.at(kV + ".lora_magnitude_vector").f32()[1];
  };
  EXPECT_EQ(converted(DType::kBF16, {0xC0, 0xBF}), -1.5f);
  EXPECT_EQ(converted(DType::kF16, {0x00, 0xBE}), -1.5f);
  EXPECT_EQ(converted(DType::kF16, {0x01, 0x00}), 0x1p-24f);  // subnormal
  EXPECT_EQ(converted(DType::kF16, {0xFF, 0x7B}), 65504.0f);
  EXPECT_EQ(converted(DType::kF64, {0, 0, 0, 0, 0, 0, 0xF8, 0xBF}), -1.5f);
  const auto refused = [&](DType dtype, std::vector<std::uint8_t> element, const char* part) {
    expect_refused([&] { converted(dtype, element); }, ExitStatus::kBadInput, part);
  };
  refused(DType::kI32, {0, 0, 0, 0}, "has dtype I32, expected F32");
  refused(DType::kF32, {0, 0, 0xC0, 0x7F}, "not finite");
  refused(DType::kBF16, {0x80, 0x7F}, "not finite");
  refused(DType::kF16, {0x00, 0x7C}, "not finite");
  refused(DType::kF64, {0, 0, 0, 0, 0, 0, 0, 0x7F}, "not finite");  // finite, but not in float32
}

TEST(PeftAdapter, RefusesTensorsThatDoNotBelongTogether) {
  const auto refused = [](auto change, const std::string& part) {
    AdapterFolder folder;
    change(folder);
    folder.expect_read_refused(part);
  };
  const std::string prefix = "base_model.model.";
  refused([&](auto& f) { f.tensors().erase(prefix + kQ + ".lora_B.weight"); }, "q_proj' has no lora_B");
  refused([&](auto& f) { f.tensors().erase(prefix + kQ + ".lora_A.weight"); }, "q_proj' has no lora_A");
  refused([&](auto& f) { f.tensors().erase(prefix + kV + ".lora_magnitude_vector"); },
          "has no magnitude vector, but use_dora is true");
  refused([&](auto& f) { f.config()["use_dora"] = false; }, "has a magnitude vector, but use_dora is false");
  refused([&](auto& f) { f.config()["r"] = 3; }, "does not have lora_A [3, in]");
  refused([&](auto& f) { f.config()["rank_pattern"] = {{"v_proj", 2}}; }, "v_proj' does not have lora_A [2, in]");
  refused([&](auto& f) { f.at(kQ + ".lora_B.weight") = tensor_of({5, 3}, 1); }, "lora_B [out, 4]");
  refused([&](auto& f) { f.at(kQ + ".lora_A.weight") = tensor_of({12}, 1); }, "lora_A [4, in]");
  refused([&](auto& f) { f.at(kQ + ".lora_magnitude_vector") = tensor_of({4}, 1); }, "another shape than [5]");
  refused([&](auto& f) { f.at(kQ + ".lora_magnitude_vector") = tensor_of({1, 5}, 1); }, "another shape than [5]");
  refused([&](auto& f) { f.tensors().clear(); }, "holds no tensor");
  for (const char* name :
       {"base_model.model.model.embed_tokens.lora_embedding_A", "model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model..lora_A.bias", "base_model.model.lora_A.weight"}) {
    refused([&](auto& f) { f.tensors()[name] = tensor_of({4, 3}, 1); }, "is not part of a LoRA or DoRA adapter");
  }
}

TEST(PeftConfigFile, TargetsAreAListOrAPattern) {
  EXPECT_EQ(read_with(R"({"target_modules":"all-linear"})").target_pattern, "all-linear");
  EXPECT_EQ(read_with(R"({"target_modules":".*\\.(q|v)_proj"})").target_pattern, ".*\\.(q|v)_proj");
  EXPECT_EQ(read_with(R"({"exclude_modules":"x.*"})").exclude_pattern, "x.*");
  EXPECT_EQ(read_with(R"({"exclude_modules":["x"]})").exclude_modules, std::vector<std::string>{"x"});
  EXPECT_EQ(read_with(R"({"layers_to_transform":0})").layers_to_transform, std::vector<std::int64_t>{0});
  EXPECT_EQ(read_with(R"({"layers_to_transform":[0,2],"layers_pattern":"layers"})").layers_to_transform.size(), 2u);
  expect_config_refused(R"({"target_modules":null})", "target_modules is null");
  expect_config_refused(R"({"target_modules":[]})", "target_modules is []");
  expect_config_refused(R"({"target_modules":""})", "target_modules: '' is no regular expression");
  expect_config_refused(R"({"target_modules":["q_proj",7]})", "a list of module names");
  expect_config_refused(R"({"target_modules":"(q_proj"})", "'(q_proj' is no regular expression");
  expect_config_refused(R"({"exclude_modules":"("})", "exclude_modules: '(' is no regular expression");
  expect_config_refused(R"({"rank_pattern":{"(":1}})", "rank_pattern: '(' is no regular expression");
  expect_config_refused(R"({"rank_pattern":{"q_proj":0}})", "q_proj is 0");
  expect_config_refused(R"({"alpha_pattern":{"q_proj":"x"}})", "alpha_pattern: q_proj is \"x\"");
  expect_config_refused(R"({"layers_to_transform":[-1]})", "layers_to_transform");
  expect_config_refused(R"({"layers_to_transform":[0],"layers_pattern":"h"})", "layers_pattern is \"h\"");
}

TEST(PeftConfigFile, RefusesWhatItDoesNotComputeByName) {
  for (const char* change :
       {R"({"bias":"some"})", R"({"lora_bias":true})", R"({"modules_to_save":[1]})", R"({"fan_in_fan_out":true})",
        R"({"init_lora_weights":"pissa"})", R"({"init_lora_weights":"olora"})", R"({"init_lora_weights":"loftq"})",
        R"({"loftq_config":{"a":1}})", R"({"task_type":"SEQ_CLS"})", R"({"trainable_token_indices":[1]})",
        R"({"target_parameters":["x"]})", R"({"layer_replication":[[0,1]]})", R"({"use_qalora":true})",
        R"({"megatron_core":"other"})", R"({"qalora_group_size":32})", R"({"unheard_of":1})",
        R"({"alora_invocation_tokens":[1]})"}) {
    const json changed = json::parse(change);
    expect_config_refused(change, changed.begin().key() + " is ");
  }
  expect_config_refused(R"({"peft_type":"LOHA"})", "peft_type is \"LOHA\", expected LORA");
  expect_config_refused(R"({"r":0})", "r is 0");
  expect_config_refused(R"({"r":4.0})", "r is 4.0");
  expect_config_refused(R"({"lora_alpha":-1})", "lora_alpha is -1");
  expect_config_refused(R"({"lora_dropout":1.0})", "lora_dropout is 1.0, expected less than 1");
  expect_config_refused(R"({"use_dora":"yes"})", "use_dora is \"yes\"");
}

TEST(PeftConfigFile, AcceptsUnknownKeysThatAskForNothing) {
  EXPECT_NO_THROW(read_with(R"({"new":null,"newer":false,"newest":[],"last":{}})"));
  EXPECT_NO_THROW(read_with(R"({"peft_version":"0.99","inference_mode":false,"revision":"main",
      "auto_mapping":{"base_model_class":"LlamaForCausalLM"},"task_type":null,"init_lora_weights":"gaussian"})"));
}

TEST(PeftConfigFile, TakesPeftsDefaultsForWhatIsAbsent) {
  AdapterFolder folder;
  folder.config() = {{"peft_type", "LORA"}, {"r", 4}, {"use_dora", true}, {"target_modules", {"q_proj"}}};
  const PeftConfig config = folder.read().config;
  EXPECT_EQ(config.alpha, 8);
  EXPECT_EQ(config.dropout, 0);
  EXPECT_FALSE(config.use_rslora);
  folder.config().erase("peft_type");
  folder.expect_read_refused("peft_type is missing");
}

}  // namespace
}  // namespace shardora
