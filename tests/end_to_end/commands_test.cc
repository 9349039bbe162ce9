// eval, merge and generate on what train wrote, and the refusals of bad input: one line, the documented status, at
// once, no rank left behind.
#include <algorithm>
#include <chrono>

#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

double eval_loss(const Split& split, const fs::path& model, const std::optional<fs::path>& adapter) {
  Words words = {"eval", "--model.path=" + model.string(), "--data.eval=" + kHeldOut.string()};
  if (adapter) words.push_back("--adapter.path=" + adapter->string());
  return must_run(split, words).at("loss");
}

class Trained : public ::testing::TestWithParam<std::string> {
 protected:
  // An adapter that has clearly moved.
  void train(const fs::path& output) {
    must_run({2, 2}, train_words(output) + Words{"--train.steps=12", "--train.schedule=constant"} +
                         (GetParam() == "input" ? Words{"--adapter.magnitude_axis=input"} : Words{}) +
                         (GetParam() == "lora" ? Words{"--adapter.method=lora"} : Words{}));
  }
};

TEST_P(Trained, AdapterMergesIntoAModelOfTheSameLossAndWords) {
  const TemporaryFolder folder;
  train(folder / "run");
  const fs::path adapter = folder / "run/adapter", merged = folder / "merged";
  const json verified =
      must_run({2, 2}, {"merge", "--model.path=" + kModel.string(), "--adapter.path=" + adapter.string(),
                        "--output.dir=" + merged.string(), "--merge.verify=true"});
  EXPECT_LT(verified.at("logit_difference").get<double>(), 1e-5);
  const double base = eval_loss({1, 1}, kModel, {}), adapted = eval_loss({2, 2}, kModel, adapter),
               folded = eval_loss({1, 1}, merged, {});
  EXPECT_NEAR(adapted, folded, 1e-5 * adapted);
  EXPECT_GT(std::abs(adapted - base), 1e-2);
  const auto words = [&](const fs::path& model, const std::optional<fs::path>& with, const Split& split) {
    Words generate = {"generate", "--model.path=" + model.string(), "--generate.prompts=" + kHeldOut.string(),
                      "--generate.max_new_tokens=5"};
    if (with) generate.push_back("--adapter.path=" + with->string());
    return tokens_of(must_run(split, generate));
  };
  const json one = words(kModel, adapter, {1, 1});
  EXPECT_EQ(one, words(kModel, adapter, {4, 4}));
  EXPECT_EQ(one, words(kModel, adapter, {2, 1}));
  EXPECT_EQ(one, words(merged, {}, {1, 1}));
  EXPECT_NE(one, words(kModel, {}, {1, 1}));
}

INSTANTIATE_TEST_SUITE_P(Methods, Trained, ::testing::Values("dora", "input", "lora"),
                         [](const auto& parameter) { return parameter.param; });

// A model of five layers, made of the two of kModel.
void write_deeper_model(const fs::path& folder) {
  constexpr int kLayers = 5;
  fs::create_directory(folder);
  json config = json::parse(text_of(kModel / "config.json"));
  config["num_hidden_layers"] = kLayers;
  config.erase("layer_types");
  std::ofstream(folder / "config.json") << config;
  TensorMap tensors;
  for (const auto& [name, tensor] : read_safetensors(kModel / "model.safetensors")) {
    const std::string prefix = "model.layers.";
    if (!name.starts_with(prefix)) {
      tensors.emplace(name, tensor);
      continue;
    }
    for (int layer = name[prefix.size()] - '0'; layer < kLayers; layer += 2) {
      tensors.emplace(prefix + std::to_string(layer) + name.substr(prefix.size() + 1), tensor);
    }
  }
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
}

struct DifferingLayers {
  std::string name;
  Words words;
};

class LayersThatDiffer : public ::testing::TestWithParam<DifferingLayers> {};

// Training keeps room for every layer; all else runs them through the same room in turn.
TEST_P(LayersThatDiffer, AreTheSameToEveryCommand) {
  const TemporaryFolder folder;
  const fs::path model = folder / "model", run = folder / "run", merged = folder / "merged";
  write_deeper_model(model);
  Words words = train_words(run) + GetParam().words + Words{"--data.eval=" + kHeldOut.string(), "--train.steps=3"};
  std::replace(words.begin(), words.end(), "--model.path=" + kModel.string(), "--model.path=" + model.string());
  const json trained = must_run({1, 1}, words);
  const double loss = trained.at("eval").at("loss"), base = eval_loss({1, 1}, model, {});
  EXPECT_GT(std::abs(loss - base), 1e-4);
  EXPECT_NEAR(eval_loss({1, 1}, model, run / "adapter"), loss, 1e-6);
  EXPECT_NEAR(eval_loss({2, 2}, model, run / "adapter"), loss, 1e-5);
  const json verified =
      must_run({1, 1}, {"merge", "--model.path=" + model.string(), "--adapter.path=" + (run / "adapter").string(),
                        "--output.dir=" + merged.string(), "--merge.verify=true"});
  EXPECT_LT(verified.at("logit_difference").get<double>(), 1e-5);
  EXPECT_NEAR(eval_loss({1, 1}, merged, {}), loss, 1e-5);
  const Words prompts = {"--generate.prompts=" + kHeldOut.string(), "--generate.max_new_tokens=4"};
  EXPECT_EQ(tokens_of(must_run({1, 1}, Words{"generate", "--model.path=" + model.string(),
                                             "--adapter.path=" + (run / "adapter").string()} +
                                           prompts)),
            tokens_of(must_run({1, 1}, Words{"generate", "--model.path=" + merged.string()} + prompts)));
}

INSTANTIATE_TEST_SUITE_P(
    Adapters, LayersThatDiffer,
    ::testing::Values(DifferingLayers{"dora_of_the_last", {"--adapter.layers=4"}},
                      DifferingLayers{"lora_of_the_last", {"--adapter.layers=4", "--adapter.method=lora"}},
                      DifferingLayers{"input_axis_of_two", {"--adapter.layers=1,2", "--adapter.magnitude_axis=input"}},
                      DifferingLayers{"a_rank_of_the_first", {"--adapter.rank_pattern=layers.0.self_attn.q_proj:9"}},
                      DifferingLayers{"a_rank_of_the_last", {"--adapter.rank_pattern=layers.4.mlp.up_proj:9"}},
                      DifferingLayers{"modules_of_two",
                                      {"--adapter.target_modules=layers.0.self_attn.v_proj,layers.3.mlp.down_proj"}}),
    [](const auto& parameter) { return parameter.param.name; });

// kModel's adapter as other tools might have left it: what it computes must not change.
class AnAdapterFromElsewhere : public ::testing::Test {
 protected:
  void SetUp() override {
    must_run({1, 1}, train_words(folder_ / "run") + Words{"--train.steps=2", "--adapter.target_modules=q_proj,o_proj"});
    config_ = json::parse(text_of(folder_ / "run/adapter/adapter_config.json"));
    tensors_ = read_safetensors(folder_ / "run/adapter/adapter_model.safetensors");
    loss_ = eval_loss({1, 1}, kModel, folder_ / "run/adapter");
  }
  Words words(const std::string& command, const fs::path& model = kModel) {
    write();
    return {command, "--model.path=" + model.string(), "--adapter.path=" + adapter_.string()};
  }
  Words eval_words(const fs::path& model = kModel) {
    return words("eval", model) + Words{"--data.eval=" + kHeldOut.string()};
  }
  void expect_taken(const std::string& said) {
    for (const Split& split : {Split{1, 1}, Split{2, 2}}) {
      const ProgramRun run = run_program(split, eval_words());
      ASSERT_EQ(run.status, 0) << run.errors;
      EXPECT_NEAR(run.result().at("loss").get<double>(), loss_, 1e-6);
      EXPECT_THAT(run.errors, HasSubstr(said));
    }
  }
  void expect_refused(const std::string& said, int status = kBadInput, const fs::path& model = kModel) {
    for (const Split& split : {Split{1, 1}, Split{4, 2}}) {
      const ProgramRun run = run_program(split, eval_words(model));
      EXPECT_EQ(run.status, status) << run.errors;
      EXPECT_THAT(run.errors, HasSubstr(said));
    }
  }
  TemporaryFolder folder_;
  json config_;
  TensorMap tensors_;

 private:
  void write() {
    fs::remove_all(adapter_);
    fs::create_directory(adapter_);
    std::ofstream(adapter_ / "adapter_config.json") << config_;
    write_safetensors(adapter_ / "adapter_model.safetensors", tensors_, {{"format", "pt"}});
  }
  fs::path adapter_ = folder_ / "adapter";
  double loss_ = 0;
};

TEST_F(AnAdapterFromElsewhere, MayNameWhatTheModelLacks) {
  config_["target_modules"] = {"q_proj", "dense", "o_proj"};
  config_["rank_pattern"] = {{"dense", 8}};
  config_["alpha_pattern"] = {{"mlp.experts", 100}};
  config_["layers_to_transform"] = {0, 1, 77};
  config_["modules_to_save"] = {"classifier"};
  expect_taken("target_modules 'dense', rank_pattern 'dense', alpha_pattern 'mlp.experts', layers_to_transform '77'");
  expect_taken("modules_to_save 'classifier'");
  must_run({1, 1}, words("merge") + Words{"--output.dir=" + (folder_ / "merged").string(), "--merge.verify=true"});
  EXPECT_THAT(run_program({1, 1}, words("inspect"), 120, {}, 0).output, HasSubstr("target_modules 'dense'"));
  EXPECT_EQ(run_program({1, 1}, words("plan") + Words{"--data.train=" + kData.string()}).status, 0);
  EXPECT_EQ(run_program({1, 1}, words("analyze")).status, 0);
  Words train = train_words(folder_ / "more") + Words{"--train.steps=1", words("train").back()};
  std::erase(train, "--adapter.rank=4");
  must_run({1, 1}, train);
  EXPECT_EQ(json::parse(text_of(folder_ / "more/adapter/adapter_config.json")).at("target_modules"),
            json({"q_proj", "o_proj"}));
  config_["target_modules"] = {"dense"};
  expect_refused("'dense' matches no linear module", kUsage);
}

TEST_F(AnAdapterFromElsewhere, MayHoldCopiesOfTheBase) {
  TensorMap base = read_safetensors(kModel / "model.safetensors");
  const std::string prefix = "base_model.model.", bias = "model.layers.0.self_attn.q_proj.bias";
  for (const char* const name : {"lm_head.weight", "model.embed_tokens.weight"})
    tensors_[prefix + name] = base.at(name);
  config_["modules_to_save"] = {"lm_head"};
  expect_taken("left out, for they equal the base's: lm_head.weight, model.embed_tokens.weight");
  tensors_[prefix + "model.layers.0.self_attn.q_proj.base_layer.bias"] = base.at(bias);
  expect_taken(bias);
  for (const char* const name : {"lm_head.weight", "model.layers.0.self_attn.q_proj.base_layer.bias"}) {
    const HostTensor own = tensors_.at(prefix + name);
    tensors_.at(prefix + name).f32().back() += 1;
    expect_refused("tensor '" + prefix + name + "' differs from the base's");
    tensors_[prefix + name] = own;
  }
  tensors_[prefix + "classifier.weight"] = base.at("lm_head.weight");
  expect_refused("'base_model.model.classifier.weight' is not part of a LoRA or DoRA adapter");
  tensors_.erase(prefix + "classifier.weight");
  tensors_.erase(prefix + "lm_head.weight");
  expect_refused("modules_to_save names 'lm_head', whose weights are not there");
}

TEST_F(AnAdapterFromElsewhere, MayHaveKeysThatChangeNothing) {
  config_["init_lora_weights"] = "eva";
  config_["eva_config"] = {{"rho", 2.0}};
  expect_taken("init_lora_weights = eva changes nothing");
  for (const char* const other : {"pissa", "olora", "pissa_niter_16"}) {
    config_["init_lora_weights"] = other;
    expect_refused("may have changed the base's weights");
  }
  config_["init_lora_weights"] = true;
  config_["bias"] = "lora_only";  // the model has biases in q, k and v
  expect_refused("bias is \"lora_only\", and the model has model.layers.0.self_attn.q_proj.bias, which is not there");
  TensorMap base = read_safetensors(kModel / "model.safetensors");
  for (const char* const layer : {"0", "1"}) {
    const std::string name = "model.layers." + std::string(layer) + ".self_attn.q_proj.bias";
    tensors_["base_model.model." + name] = base.at(name);
  }
  expect_taken("bias = lora_only changes nothing: its biases equal the base's");
  config_["bias"] = "all";
  expect_refused("model.layers.0.self_attn.k_proj.bias, which is not there");
  config_["bias"] = "some";
  expect_refused("expected none, lora_only or all");
}

TEST_F(AnAdapterFromElsewhere, OnAModelWithoutBiasesHasNoneToTrain) {
  const fs::path model = kGolden / "models/llama";
  Words words = train_words(folder_ / "llama") + Words{"--train.steps=1"};
  std::replace(words.begin(), words.end(), "--model.path=" + kModel.string(), "--model.path=" + model.string());
  must_run({1, 1}, words);
  const fs::path adapter = folder_ / "llama/adapter";
  const double loss = eval_loss({1, 1}, model, adapter);
  json config = json::parse(text_of(adapter / "adapter_config.json"));
  for (const char* const bias : {"lora_only", "all"}) {
    config["bias"] = bias;
    std::ofstream(adapter / "adapter_config.json") << config;
    EXPECT_EQ(eval_loss({1, 1}, model, adapter), loss);
  }
}

TEST_F(AnAdapterFromElsewhere, InPickleIsToBeSavedAnew) {
  const fs::path adapter = folder_ / "run/adapter";
  fs::rename(adapter / "adapter_model.safetensors", adapter / "adapter_model.bin");
  const ProgramRun run =
      run_program({1, 1}, {"eval", "--model.path=" + kModel.string(), "--adapter.path=" + adapter.string(),
                           "--data.eval=" + kHeldOut.string()});
  EXPECT_EQ(run.status, kBadInput);
  EXPECT_THAT(run.errors, HasSubstr("adapter_model.bin: pickle is not read"));
}

// config.json ties the head to the embedding, and the file has one of its own.
TEST(AStoredHead, IsUsedWhereItIsNotTheTiedOne) {
  const TemporaryFolder folder;
  const fs::path tied = kGolden / "models/qwen2_tied", model = folder / "model", untied = folder / "untied";
  TensorMap tensors = read_safetensors(tied / "model.safetensors");
  HostTensor head = tensors.at("model.embed_tokens.weight");
  const auto write = [&](const fs::path& to, bool ties) {
    fs::remove_all(to);
    fs::create_directory(to);
    json config = json::parse(text_of(tied / "config.json"));
    config["tie_word_embeddings"] = ties;
    std::ofstream(to / "config.json") << config;
    tensors["lm_head.weight"] = head;
    write_safetensors(to / "model.safetensors", tensors, {{"format", "pt"}});
  };
  const auto eval = [&](const Split& split, const fs::path& of) {
    return run_program(split, {"eval", "--model.path=" + of.string(), "--data.eval=" + kHeldOut.string()});
  };
  write(model, true);
  const ProgramRun equal = eval({2, 2}, model);
  EXPECT_EQ(equal.result().at("loss"), eval({2, 2}, tied).result().at("loss"));
  EXPECT_THAT(equal.errors, Not(HasSubstr("lm_head")));
  head.f32().back() += 2;  // in the last rank's share alone
  write(model, true), write(untied, false);
  for (const Split& split : {Split{1, 1}, Split{2, 2}, Split{4, 2}}) {
    const ProgramRun run = eval(split, model);
    EXPECT_EQ(run.result().at("loss"), eval(split, untied).result().at("loss"));
    EXPECT_NE(run.result().at("loss"), eval(split, tied).result().at("loss"));
    EXPECT_THAT(run.errors, AllOf(HasSubstr("lm_head.weight differs from model.embed_tokens.weight"),
                                  HasSubstr("tie_word_embeddings = true: the stored head is used")));
  }
  EXPECT_THAT(run_program({1, 1}, {"inspect", "--model.path=" + model.string()}, 120, {}, 0).output,
              HasSubstr("lm_head.weight differs from model.embed_tokens.weight"));
  Words words = train_words(folder / "run") + Words{"--train.steps=2"};
  std::replace(words.begin(), words.end(), "--model.path=" + kModel.string(), "--model.path=" + model.string());
  must_run({2, 2}, words);
  const fs::path adapter = folder / "run/adapter", merged = folder / "merged";
  const json verified =
      must_run({1, 1}, {"merge", "--model.path=" + model.string(), "--adapter.path=" + adapter.string(),
                        "--output.dir=" + merged.string(), "--merge.verify=true"});
  EXPECT_LT(verified.at("logit_difference").get<double>(), 1e-5);
  EXPECT_NEAR(eval_loss({1, 1}, merged, {}), eval_loss({1, 1}, model, adapter), 1e-5);
  EXPECT_EQ(read_safetensors(merged / "model.safetensors").at("lm_head.weight").bytes, head.bytes);
  EXPECT_EQ(json::parse(text_of(merged / "config.json")).at("tie_word_embeddings"), false);
}

TEST(EveryTrainableTensor, HasMovedByTheThirdStep) {
  const TemporaryFolder folder;
  must_run({1, 1}, train_words(folder / "still", "1e-30") + Words{"--train.steps=1"});
  must_run({1, 1}, train_words(folder / "moved") + Words{"--train.steps=3"});
  const auto file = [](const fs::path& run) { return read_safetensors(run / "adapter/adapter_model.safetensors"); };
  const TensorMap before = file(folder / "still"), after = file(folder / "moved");
  EXPECT_EQ(before.size(), after.size());
  for (const auto& [name, tensor] : after) EXPECT_NE(tensor.bytes, before.at(name).bytes) << name;
}

TEST(AnEvaluation, DropsNothing) {
  const TemporaryFolder folder;
  must_run({1, 1}, train_words(folder / "run") + Words{"--train.steps=2", "--adapter.dropout=0.4"});
  const fs::path adapter = folder / "run/adapter", config = adapter / "adapter_config.json";
  const double with = eval_loss({1, 1}, kModel, adapter);
  json without = json::parse(text_of(config));
  EXPECT_EQ(without.at("lora_dropout"), 0.4);
  without["lora_dropout"] = 0.0;
  std::ofstream(config) << without;
  EXPECT_EQ(with, eval_loss({1, 1}, kModel, adapter));
}

TEST(ACheckpoint, IsTakenForItsAdapter) {
  const TemporaryFolder folder;
  must_run({1, 1}, train_words(folder / "run") + Words{"--train.steps=2", "--output.checkpoint_every=1"});
  EXPECT_EQ(eval_loss({1, 1}, kModel, folder / "run/adapter"),
            eval_loss({1, 1}, kModel, folder / "run/checkpoints/step-2"));
}

TEST(TheResolvedConfiguration, RepeatsTheRun) {
  const TemporaryFolder folder;
  must_run({1, 1}, train_words(folder / "first") + Words{"--train.steps=2"});
  must_run({1, 1}, {"train", "--config=" + (folder / "first/config.resolved.cfg").string(),
                    "--output.dir=" + (folder / "second").string()});
  EXPECT_EQ(adapter_bytes(folder / "first"), adapter_bytes(folder / "second"));
}

// The loss is a sum over all targets of a step divided by their count, however the step is cut into micro-batches.
TEST(MicroBatches, OfAnySizeGiveTheSameStep) {
  const TemporaryFolder folder;
  const Words constant = {"--train.steps=3", "--data.shuffle=false"};
  must_run({1, 1}, train_words(folder / "whole") + constant);
  must_run({1, 1}, train_words(folder / "start", "1e-30") + Words{"--train.steps=1"});
  const auto expect_same = [&](const std::string& name, const Split& split, const Words& more) {
    must_run(split, train_words(folder / name) + constant + more);
    const std::vector<double> whole = values(folder / "whole", "gradient_norm");
    const std::vector<double> cut = values(folder / name, "gradient_norm");
    ASSERT_EQ(whole.size(), cut.size());
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(cut[i] / whole[i], 1.0, 1e-5) << name;
    EXPECT_LT(worst_update(folder / name, folder / "whole", folder / "start"), 1e-3) << name;
  };
  expect_same("small", {1, 1}, {"--train.micro_batch_tokens=20"});
  expect_same("alone", {1, 1}, {"--data.packing=false"});
  expect_same("cut", {4, 2}, {"--train.micro_batch_tokens=33"});
}

TEST(ALossThatIsNotFinite, EndsAllRanksWith76AndNothingIsSaved) {
  const TemporaryFolder folder;
  const fs::path model = folder / "model";
  fs::copy(kModel, model, fs::copy_options::recursive);
  TensorMap tensors = read_safetensors(model / "model.safetensors");
  tensors.at("model.norm.weight").f32()[0] = std::nanf("");
  fs::remove(model / "model.safetensors");
  write_safetensors(model / "model.safetensors", tensors, {{"format", "pt"}});
  Words words = train_words(folder / "run") + Words{"--train.steps=3", "--output.checkpoint_every=1"};
  std::replace(words.begin(), words.end(), "--model.path=" + kModel.string(), "--model.path=" + model.string());
  const ProgramRun run = run_program({2, 2}, words);
  EXPECT_EQ(run.status, 76) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("step 1: loss"));  // the step's own refusal, before a save refuses
  EXPECT_FALSE(fs::exists(folder / "run/adapter"));
  EXPECT_FALSE(fs::exists(folder / "run/checkpoints/step-1"));
  EXPECT_EQ(json::parse(text_of(folder / "run/exit.json")).at("status"), 76);
}

// The step's loss is finite; what the optimizer makes of such a rate is not.
TEST(ValuesThatAreNotFinite, AreNeverSaved) {
  const TemporaryFolder folder;
  const Words words = train_words(folder / "run", "1e39") + Words{"--train.steps=2", "--output.checkpoint_every=1"};
  const ProgramRun run = run_program({2, 2}, words);
  EXPECT_EQ(run.status, 76) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("nothing was saved"));
  EXPECT_FALSE(fs::exists(folder / "run/checkpoints/step-1"));
}

// A dataset file with one thing wrong.
struct Fault {
  std::vector<std::int32_t> tokens = {1, 2, 3, 4};
  std::vector<std::int64_t> offsets = {0, 4};
  std::vector<std::uint8_t> mask = {0, 1, 1, 1};
};

void write_dataset(const fs::path& path, const Fault& fault) {
  const auto tensor = [](DType dtype, const auto& values) {
    HostTensor host{.dtype = dtype, .shape = {std::ssize(values)}};
    const auto bytes = std::as_bytes(std::span(values));
    host.bytes.assign(bytes.begin(), bytes.end());
    return host;
  };
  write_safetensors(path,
                    {{"tokens", tensor(DType::kI32, fault.tokens)},
                     {"offsets", tensor(DType::kI64, fault.offsets)},
                     {"loss_mask", tensor(DType::kU8, fault.mask)}},
                    {{"format", "shardora.dataset.v1"}});
}

class BadInput : public ::testing::Test {
 protected:
  // Refused on two ranks, quickly, with one line from one rank.
  void expect(int status, const std::string& words_said, const Words& words) {
    const auto begin = std::chrono::steady_clock::now();
    const ProgramRun run = run_program({2, 2}, words);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    EXPECT_EQ(run.status, status) << run.errors;
    EXPECT_THAT(run.errors, HasSubstr(words_said));
    EXPECT_EQ(run.output, "");
    EXPECT_LT(seconds.count(), 60) << "a refusal hangs";
    std::size_t lines = 0;
    for (std::size_t at = run.errors.find("shardora: [rank"); at != std::string::npos;
         at = run.errors.find("shardora: [rank", at + 1)) {
      lines += run.errors.compare(run.errors.find(']', at), 12, "] shardora 0") != 0;  // not the greeting
    }
    EXPECT_EQ(lines, 1U) << run.errors;
  }
  Words with(const Words& more) { return train_words(folder_ / "run") + Words{"--train.steps=1"} + more; }
  Words with_dataset(const Fault& fault) {
    write_dataset(folder_ / "data", fault);
    Words words = with({});
    std::erase(words, "--data.train=" + kData.string());
    words.push_back("--data.train=" + (folder_ / "data").string());
    return words;
  }
  TemporaryFolder folder_;
};

TEST_F(BadInput, TensorSizeThatDoesNotDivideNamesThoseThatDo) {
  const ProgramRun run = run_program({3, 3}, with({}));
  EXPECT_EQ(run.status, 64);
  EXPECT_THAT(run.errors, HasSubstr("1, 2, 4"));
}
TEST_F(BadInput, IdOutsideTheVocabulary) { expect(65, "vocabulary", with_dataset({.tokens = {1, 2, 999, 4}})); }
TEST_F(BadInput, EmptySequence) { expect(65, "empty", with_dataset({.offsets = {0, 0, 4}})); }
TEST_F(BadInput, OffsetsOutOfOrder) { expect(65, "offsets", with_dataset({.offsets = {0, 3, 2, 4}})); }
TEST_F(BadInput, AllTargetsMasked) { expect(65, "target", with_dataset({.mask = {0, 0, 0, 0}})); }
TEST_F(BadInput, MissingDataset) {
  Words words = with({});
  std::erase(words, "--data.train=" + kData.string());
  expect(65, "none.safetensors", words + Words{"--data.train=none.safetensors"});
}
TEST_F(BadInput, OutputFolderOfSomebodyElse) {
  std::ofstream(folder_ / "letter.txt") << "dear";
  Words words = with({});
  std::erase(words, "--output.dir=" + (folder_ / "run").string());
  expect(73, "not empty", words + Words{"--output.dir=" + folder_.path().string()});
}
TEST_F(BadInput, FewerSequencesThanRanks) {
  expect(64, "global_batch", [&] {
    Words words = with({});
    std::erase(words, "--train.global_batch=6");
    return words + Words{"--train.global_batch=0"};
  }());
}
TEST_F(BadInput, TargetThatMatchesNothing) { expect(64, "w_proj", with({"--adapter.target_modules=w_proj"})); }
TEST_F(BadInput, RandomWeightsWithoutFullTraining) { expect(64, "full", with({"--model.init=random"})); }

TEST_F(BadInput, AnAdapterWithMoreTensorsThanItsConfigurationNames) {
  must_run({1, 1}, with({}));
  const fs::path config = folder_ / "run/adapter/adapter_config.json";
  json fewer = json::parse(text_of(config));
  fewer["target_modules"] = {"q_proj"};
  std::ofstream(config) << fewer;
  expect(65, "its configuration on this model needs",
         {"eval", "--model.path=" + kModel.string(), "--adapter.path=" + config.parent_path().string(),
          "--data.eval=" + kHeldOut.string()});
}

TEST_F(BadInput, DamagedModels) {
  const fs::path model = folder_ / "model";
  const auto fresh = [&] {
    fs::remove_all(model);
    fs::copy(kModel, model, fs::copy_options::recursive);
    Words words = with({});
    std::erase(words, "--model.path=" + kModel.string());
    return words + Words{"--model.path=" + model.string()};
  };
  Words words = fresh();
  fs::resize_file(model / "model.safetensors", fs::file_size(model / "model.safetensors") - 1);
  expect(65, "model.safetensors", words);
  words = fresh();
  TensorMap tensors = read_safetensors(model / "model.safetensors");
  const auto rewrite = [&] {
    fs::remove(model / "model.safetensors");
    write_safetensors(model / "model.safetensors", tensors, {{"format", "pt"}});
  };
  HostTensor norm = tensors.at("model.norm.weight");
  tensors.erase("model.norm.weight");
  rewrite();
  expect(65, "model.norm.weight", words);
  tensors["model.norm.weight"] = norm;
  tensors["model.extra.weight"] = norm;
  rewrite();
  expect(65, "model.extra.weight", words);
  tensors.erase("model.extra.weight");
  tensors["model.norm.weight"].shape.push_back(1);
  rewrite();
  expect(65, "model.norm.weight", words);
  json config = json::parse(text_of(kModel / "config.json"));
  config["model_type"] = "mamba";
  words = fresh();
  std::ofstream(model / "config.json") << config;
  expect(65, "mamba", words);
}

TEST_F(BadInput, OutputFolderInUse) {
  const std::string hold = "flock " + quoted((folder_ / "run/run.lock").string()) + " sleep 5 &";
  fs::create_directories(folder_ / "run");
  std::ofstream(folder_ / "run/run.lock") << "{}";
  ASSERT_EQ(std::system(hold.c_str()), 0);
  expect(73, "another run is using it", with({}));
}

TEST(Inspect, EndsWith65WhereAPartCannotBeUsedAndStillReportsTheRest) {
  const TemporaryFolder folder;
  fs::copy(kModel, folder / "model");
  const Words words = {"inspect", "--model.path=" + (folder / "model").string(), "--data.train=" + kData.string()};
  const ProgramRun sound = run_program({1, 1}, words, 120, {}, 0);
  EXPECT_EQ(sound.status, 0) << sound.errors;
  EXPECT_EQ(sound.result().at("usable"), true);
  EXPECT_EQ(sound.result().at("problems").size(), 1U);  // sequences without a target: no reason to refuse the rest

  fs::permissions(folder / "model/config.json", fs::perms::owner_all);
  std::ofstream(folder / "model/config.json") << R"({"model_type": "gpt2"})";
  const ProgramRun broken = run_program({1, 1}, words, 120, {}, 0);
  EXPECT_EQ(broken.status, kBadInput) << broken.errors;
  EXPECT_EQ(broken.result().at("usable"), false);
  EXPECT_TRUE(broken.result().at("model").is_null());
  EXPECT_EQ(broken.result().at("train"), sound.result().at("train"));
  EXPECT_THAT(broken.output, HasSubstr("cannot be used: " + (folder / "model/config.json").string()));
  EXPECT_THAT(broken.errors, HasSubstr("model_type is \"gpt2\", expected one of"));

  const ProgramRun two = run_program(
      {1, 1}, words + Words{"--adapter.path=" + folder.path().string(), "--data.eval=" + kData.string()}, 120, {}, 0);
  EXPECT_EQ(two.status, kBadInput);
  EXPECT_THAT(two.errors, HasSubstr("; and 1 more, see the report"));
}

}  // namespace
}  // namespace shardora
