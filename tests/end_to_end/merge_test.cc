// merge as users meet it: the base's shards at any number of ranks, all that a server needs beside them, a card that
// tells what was done, and nothing at all where it fails.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// kModel's weights in three files, of two types, with what comes beside a real model.
void write_sharded_base(const fs::path& folder) {
  fs::create_directories(folder / "additional_chat_templates");
  fs::copy(kModel / "config.json", folder / "config.json");
  const std::vector<std::string> files = {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
                                          "model-00003-of-00003.safetensors"};
  std::vector<TensorMap> shards(files.size());
  json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", json::object()}};
  std::size_t next = 0;
  for (auto& [name, tensor] : read_safetensors(kModel / "model.safetensors")) {
    index["weight_map"][name] = files[next];
    shards[next].emplace(name, tensor);
    next = (next + 1) % files.size();
  }
  for (std::size_t i = 0; i < files.size(); ++i) write_safetensors(folder / files[i], shards[i], {{"format", "pt"}});
  std::ofstream(folder / "model.safetensors.index.json") << index;
  for (const char* const name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                 "chat_template.jinja", "LICENSE.txt", "additional_chat_templates/tool.jinja"}) {
    std::ofstream(folder / name) << "{\"name\": \"" << name << "\"}";
  }
  std::ofstream(folder / "pytorch_model.bin") << "stays behind";
}

std::string stated_dtype(const fs::path& model) { return json::parse(text_of(model / "config.json")).at("dtype"); }

class Merge : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<TemporaryFolder>();
    must_run({1, 1}, train_words(run()) + Words{"--train.steps=4", "--data.eval=" + kHeldOut.string()});
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  static fs::path run() { return *scratch_ / "run"; }
  static Words words(const fs::path& output, const fs::path& base = kModel,
                     const fs::path& adapter = run() / "adapter") {
    return {"merge", "--model.path=" + base.string(), "--adapter.path=" + adapter.string(),
            "--output.dir=" + output.string()};
  }
  void expect_refusal(int status, const std::string& said, const Words& how) {
    const ProgramRun refused = run_program({2, 1}, how);
    EXPECT_EQ(refused.status, status) << refused.errors;
    EXPECT_THAT(refused.errors, HasSubstr(said));
    EXPECT_EQ(refused.output, "");
  }
  // What is in the test's folder, by name.
  std::vector<std::string> left() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  TemporaryFolder folder_;

 private:
  static inline std::unique_ptr<TemporaryFolder> scratch_;
};

TEST_F(Merge, WritesTheBasesShardsAtAnyNumberOfRanks) {
  const fs::path base = folder_ / "base";
  write_sharded_base(base);
  must_run({1, 1}, words(folder_ / "single"));
  TensorMap single = read_safetensors(folder_ / "single/model.safetensors"), shards;
  for (const int ranks : {1, 2, 4}) {
    const fs::path merged = folder_ / ("merged-" + std::to_string(ranks));
    const json result = must_run({ranks, 1}, words(merged, base) + Words{"--merge.verify=true"});
    EXPECT_LT(result.at("logit_difference"), 1e-5);
    EXPECT_EQ(result.at("bytes"), 84480);
    const json index = json::parse(text_of(merged / "model.safetensors.index.json"));
    EXPECT_EQ(index.at("weight_map"), json::parse(text_of(base / "model.safetensors.index.json")).at("weight_map"));
    EXPECT_EQ(index.at("metadata").at("total_size"), 84480);
    for (const auto& [name, file] : index.at("weight_map").items()) {
      EXPECT_EQ(read_safetensors(merged / file.get<std::string>()).at(name).bytes, single.at(name).bytes) << name;
    }
    for (const char* const name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json",
                                   "chat_template.jinja", "LICENSE.txt", "additional_chat_templates/tool.jinja"}) {
      EXPECT_EQ(text_of(merged / name), text_of(base / name));
    }
    EXPECT_FALSE(fs::exists(merged / "pytorch_model.bin"));
    EXPECT_FALSE(fs::exists(merged / "run.lock"));
  }
}

TEST_F(Merge, CastsToEveryType) {
  for (const auto& [dtype, stored, apart] :
       {std::tuple{"float32", DType::kF32, 0.0}, {"bfloat16", DType::kBF16, 2e-2}, {"float16", DType::kF16, 3e-3}}) {
    const fs::path merged = folder_ / dtype;
    const json result =
        must_run({2, 2}, words(merged) + Words{"--merge.verify=true", "--merge.dtype=" + std::string(dtype)});
    EXPECT_LE(result.at("logit_difference"), apart + 1e-5);
    for (const auto& [name, tensor] : read_safetensors(merged / "model.safetensors")) EXPECT_EQ(tensor.dtype, stored);
    EXPECT_EQ(stated_dtype(merged), dtype);
  }
}

TEST_F(Merge, LeavesACardWithDataMethodFiguresAndBase) {
  must_run({1, 1}, words(folder_ / "merged") + Words{"--merge.verify=true"});
  const std::string card = text_of(folder_ / "merged/README.md");
  std::string loss = std::to_string(losses(run()).back());
  loss.resize(5);
  EXPECT_THAT(card, AllOf(HasSubstr("base_model: \"" + kModel.string() + "\""), HasSubstr("DoRA, rank 4, alpha 32"),
                          HasSubstr("| data.train | `" + kData.string()), HasSubstr("| train.steps | 4 |"),
                          HasSubstr("| training loss | " + loss), HasSubstr("| evaluation loss | "),
                          HasSubstr("Its logits differ")));
  fs::copy(run() / "adapter", folder_ / "moved", fs::copy_options::recursive);  // without its run
  must_run({1, 1}, words(folder_ / "again", kModel, folder_ / "moved"));
  EXPECT_THAT(text_of(folder_ / "again/README.md"), AllOf(HasSubstr("DoRA, rank 4"), Not(HasSubstr("## Data"))));
}

TEST_F(Merge, NeverTouchesItsBase) {
  const fs::path base = folder_ / "base";
  fs::copy(kModel, base);
  fs::create_directory_symlink(base, folder_ / "link");
  const std::string before = text_of(base / "model.safetensors");
  expect_refusal(64, "is the base model itself", words(base, base));
  expect_refusal(64, "is the base model itself", words(folder_ / "link", base) + Words{"--output.overwrite=true"});
  expect_refusal(64, "is the base model itself", words(base / "../link/.", base));
  expect_refusal(73, "is not empty", words(folder_.path(), base));
  EXPECT_EQ(text_of(base / "model.safetensors"), before);
  EXPECT_EQ(left(), (Words{"base", "link"}));
}

TEST_F(Merge, OverwritesOnlyWhatItHasMade) {
  must_run({1, 1}, words(folder_ / "merged"));
  expect_refusal(73, "is not empty", words(folder_ / "merged"));
  must_run({1, 1}, words(folder_ / "merged") + Words{"--output.overwrite=true", "--merge.dtype=bfloat16"});
  EXPECT_EQ(stated_dtype(folder_ / "merged"), "bfloat16");
  // A merged model that is the base of the next one.
  expect_refusal(64, "is the base model itself",
                 words(folder_ / "merged", folder_ / "merged") + Words{"--output.overwrite=true"});
  fs::copy(kModel, folder_ / "merged/inner");
  expect_refusal(73, "holds the base",
                 words(folder_ / "merged", folder_ / "merged/inner") + Words{"--output.overwrite=true"});
  fs::copy(kModel, folder_ / "mine");
  expect_refusal(73, "has no model card", words(folder_ / "mine") + Words{"--output.overwrite=true"});
  EXPECT_EQ(left(), (Words{"merged", "mine"}));
}

TEST_F(Merge, RefusesAnAdapterOfAnotherShapeAndWarnsOfAnotherName) {
  expect_refusal(65, "is it for another base", words(folder_ / "merged", kGolden / "models/qwen3"));
  fs::copy(kModel, folder_ / "other");
  const ProgramRun merged = run_program({2, 1}, words(folder_ / "merged", folder_ / "other"));
  EXPECT_EQ(merged.status, 0) << merged.errors;
  EXPECT_THAT(merged.errors, HasSubstr("the adapter was trained on " + kModel.string()));
  EXPECT_THAT(run_program({1, 1}, words(folder_ / "same")).errors, Not(HasSubstr("was trained on")));
  EXPECT_EQ(left(), (Words{"merged", "other", "same"}));
}

TEST_F(Merge, LeavesNothingWhereItFailsAtTheEnd) {
  // The weights are written by then.
  const fs::path base = folder_ / "base";
  fs::copy(kModel, base);
  fs::create_symlink(kGolden / "data/101-train.safetensors", base / "generation_config.json");
  expect_refusal(65, "outside its folder", words(folder_ / "merged", base));
  EXPECT_EQ(left(), Words{"base"});
}

TEST_F(Merge, TakesUpAfterAKilledAttempt) {
  fs::create_directories(folder_ / "merged.partial");
  std::ofstream(folder_ / "merged.partial/model.safetensors") << "half";
  expect_refusal(73, "is not what an unfinished attempt leaves", words(folder_ / "merged"));
  std::ofstream(folder_ / "merged.partial/run.lock") << "{}";
  must_run({2, 1}, words(folder_ / "merged"));
  EXPECT_EQ(left(), Words{"merged"});
  fs::create_directories(folder_ / "busy.partial");
  const std::string lock = quoted((folder_ / "busy.partial/run.lock").string());
  ASSERT_EQ(std::system(("touch " + lock + "; flock " + lock + " sleep 5 &").c_str()), 0);
  expect_refusal(73, "another run is using it", words(folder_ / "busy"));
}

}  // namespace
}  // namespace shardora
