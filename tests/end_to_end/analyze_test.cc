// analyze on what train wrote: an adapter, the model merged from it, and the checkpoints of a run tell the same story,
// at any number of ranks.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using ::testing::HasSubstr;

struct Row {
  std::int64_t step = 0, layer = 0;
  std::string projection, module;
  double delta_m = 0, delta_d = 0, base_magnitude = 0;
};

std::vector<Row> rows_of(const fs::path& csv) {
  std::vector<Row> rows;
  std::ifstream file(csv);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "step,layer,projection,module,delta_m,delta_d,base_magnitude");
  while (std::getline(file, line)) {
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream words(line);
    Row row;
    words >> row.step >> row.layer >> row.projection >> row.module >> row.delta_m >> row.delta_d >> row.base_magnitude;
    rows.push_back(row);
  }
  return rows;
}

class Analyze : public ::testing::Test {
 protected:
  json analyze(const Words& how, int ranks = 1, const std::string& csv = {}) {
    Words words = Words{"analyze", "--model.path=" + kModel.string()} + how;
    if (!csv.empty()) words.push_back("--analyze.csv=" + (folder_ / csv).string());
    return must_run({ranks, 1}, words);
  }
  void train(const Words& how) {
    must_run({1, 1}, train_words(run()) + Words{"--train.steps=4", "--train.schedule=constant"} + how);
  }
  void expect_refusal(int status, const std::string& said, const Words& how) {
    const ProgramRun refused = run_program({2, 1}, Words{"analyze", "--model.path=" + kModel.string()} + how);
    EXPECT_EQ(refused.status, status) << refused.errors;
    EXPECT_THAT(refused.errors, HasSubstr(said));
    EXPECT_EQ(refused.output, "");
  }
  fs::path run() const { return folder_ / "run"; }
  TemporaryFolder folder_;
};

class AnalyzeMethod : public Analyze, public ::testing::WithParamInterface<std::string> {};

TEST_P(AnalyzeMethod, SeesAnAdapterAsItSeesTheModelMergedFromIt) {
  const bool input = GetParam() == "input";
  train(GetParam() == "lora" ? Words{"--adapter.method=lora"}
        : input              ? Words{"--adapter.magnitude_axis=input"}
                             : Words{});
  const std::string adapter = (run() / "adapter").string(), merged = (folder_ / "merged").string();
  must_run({1, 1}, {"merge", "--model.path=" + kModel.string(), "--adapter.path=" + adapter, "--output.dir=" + merged});
  const json one = analyze({"--adapter.path=" + adapter}, 1, "one.csv"),
             tuned = analyze({"--analyze.tuned=" + merged,
                              input ? "--adapter.magnitude_axis=input" : "--adapter.magnitude_axis=output"},
                             1, "tuned.csv");
  EXPECT_EQ(one.at("method"), GetParam() == "lora" ? "lora" : "dora");
  EXPECT_EQ(tuned.at("method"), "full");
  EXPECT_EQ(one.at("magnitude_axis"), tuned.at("magnitude_axis"));
  const std::vector<Row> ours = rows_of(folder_ / "one.csv"), theirs = rows_of(folder_ / "tuned.csv");
  ASSERT_EQ(ours.size(), 14U);
  ASSERT_EQ(theirs.size(), 14U);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].module, theirs[i].module);
    EXPECT_EQ(ours[i].layer, i < 7 ? 0 : 1);
    EXPECT_NEAR(ours[i].delta_m, theirs[i].delta_m, 1e-6 * ours[i].base_magnitude) << ours[i].module;
    EXPECT_NEAR(ours[i].delta_d, theirs[i].delta_d, 1e-6) << ours[i].module;
    EXPECT_GT(ours[i].delta_m, 1e-4);
    EXPECT_GT(ours[i].delta_d, 1e-4);
  }
  // The same bytes of every rank count; the path of the table differs.
  for (const int ranks : {2, 4}) {
    json many = analyze({"--adapter.path=" + adapter}, ranks, "many.csv");
    EXPECT_EQ(text_of(folder_ / "many.csv"), text_of(folder_ / "one.csv")) << ranks;
    many["csv"] = one.at("csv");
    EXPECT_EQ(many, one) << ranks;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, AnalyzeMethod, ::testing::Values("dora", "input", "lora"),
                         [](const auto& parameter) { return parameter.param; });

TEST_F(Analyze, FollowsTheCheckpointsOfARun) {
  train({"--output.checkpoint_every=2", "--output.keep=9"});
  const json all = analyze({"--analyze.checkpoints=" + run().string()}, 2, "all.csv");
  EXPECT_EQ(all.at("points"), 28);
  EXPECT_EQ(all.at("by_projection").at("q_proj").at("points"), 4);
  const std::vector<Row> rows = rows_of(folder_ / "all.csv");
  ASSERT_EQ(rows.size(), 28U);
  for (const int step : {2, 4}) {
    const std::string path = (run() / "checkpoints/step-").string() + std::to_string(step);
    analyze({"--adapter.path=" + path}, 1, "step.csv");
    const std::vector<Row> alone = rows_of(folder_ / "step.csv");
    for (std::size_t i = 0; i < 14; ++i) {
      const Row& row = rows[(step == 4 ? 14 : 0) + i];
      EXPECT_EQ(row.step, step);
      EXPECT_EQ(row.module, alone[i].module);
      EXPECT_EQ(row.delta_m, alone[i].delta_m);
    }
  }
}

TEST_F(Analyze, OfFullTrainingReadsItsModelAndItsCheckpoints) {
  Words words = train_words(run()) + Words{"--train.steps=2", "--adapter.method=full", "--output.checkpoint_every=1"};
  std::erase(words, "--adapter.rank=4");
  must_run({1, 1}, words);
  const json model = analyze({"--analyze.tuned=" + (run() / "model").string()}, 2);
  const json last = analyze({"--analyze.tuned=" + (run() / "checkpoints/step-2").string()});
  EXPECT_EQ(model, last);
  EXPECT_GT(model.at("mean_delta_d"), 0);
  EXPECT_EQ(analyze({"--analyze.checkpoints=" + run().string()}).at("points"), 28);
}

TEST_F(Analyze, OfTheBaseItselfIsNothing) {
  const json still = analyze({"--analyze.tuned=" + kModel.string()}, 1, "still.csv");
  EXPECT_EQ(still.at("mean_delta_m"), 0);
  EXPECT_EQ(still.at("mean_delta_d"), 0);
  EXPECT_TRUE(still.at("correlation").is_null());
}

TEST_F(Analyze, RefusesWhatItCannotCompare) {
  train({"--output.checkpoint_every=0"});
  const std::string adapter = "--adapter.path=" + (run() / "adapter").string();
  expect_refusal(64, "expected one of adapter.path, analyze.tuned and analyze.checkpoints", {});
  expect_refusal(64, "2 were given", {adapter, "--analyze.tuned=" + kModel.string()});
  expect_refusal(65, "no checkpoints/step-N in it", {"--analyze.checkpoints=" + run().string()});
  expect_refusal(65, "is it of another base", {"--analyze.tuned=" + (kGolden / "models/qwen3").string()});
  std::ofstream(folder_ / "mine.csv") << "a,b\n";
  expect_refusal(73, "is not a table of analyze", {adapter, "--analyze.csv=" + (folder_ / "mine.csv").string()});
  EXPECT_EQ(text_of(folder_ / "mine.csv"), "a,b\n");
  expect_refusal(74, "nowhere", {adapter, "--analyze.csv=" + (folder_ / "nowhere/a.csv").string()});
}

}  // namespace
}  // namespace shardora
