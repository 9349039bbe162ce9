// generate as a user meets it: draws that depend on neither ranks nor neighbours, lengths and stops, refusals.
#include <set>

#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using ::testing::HasSubstr;

Words generate_words(const Words& more = {}, const fs::path& model = kModel, int new_tokens = 12) {
  return Words{"generate", "--model.path=" + model.string(), "--generate.prompts=" + kHeldOut.string(),
               "--generate.max_new_tokens=" + std::to_string(new_tokens)} +
         more;
}

// A model folder whose files may be changed.
fs::path copy_of_model(const TemporaryFolder& folder) {
  fs::path model = folder / "model";
  fs::copy(kModel, model, fs::copy_options::recursive);
  return model;
}

fs::path copy_of_model(const TemporaryFolder& folder, std::int64_t positions) {
  fs::path model = copy_of_model(folder);
  json config = json::parse(text_of(model / "config.json"));
  config["max_position_embeddings"] = positions;
  std::ofstream(model / "config.json") << config;
  return model;
}

TEST(Drawing, DependsOnTheSeedAndNeitherOnRanksNorOnNeighbours) {
  const Words draw = {"--generate.temperature=0.9", "--generate.top_k=40", "--generate.top_p=0.95"};
  const json one = tokens_of(must_run({1, 1}, generate_words(draw)));
  for (const Split& split : {Split{2, 2}, Split{3, 1}, Split{4, 2}}) {
    EXPECT_EQ(tokens_of(must_run(split, generate_words(draw))), one) << to_string(split);
  }
  EXPECT_EQ(tokens_of(must_run({1, 1}, generate_words(draw + Words{"--generate.batch_tokens=1"}))), one);
  EXPECT_NE(tokens_of(must_run({1, 1}, generate_words(draw + Words{"--generate.seed=1"}))), one);
  EXPECT_NE(tokens_of(must_run({1, 1}, generate_words())), one);
}

// So hot that all tokens are alike: the numbers that are drawn with are what is seen.
TEST(Drawing, TakesAnotherNumberForEachTokenOfEachPrompt) {
  const json all =
      tokens_of(must_run({1, 1}, generate_words({"--generate.temperature=1e6", "--generate.stop_tokens=5000"})));
  std::set<json> prompts;
  for (const json& tokens : all) {
    EXPECT_GT(std::set<json>(tokens.begin(), tokens.end()).size(), 6U) << tokens;
    prompts.insert(tokens);
  }
  EXPECT_EQ(prompts.size(), all.size());
}

TEST(Drawing, FromTheOneMostProbableTokenIsGreedy) {
  const json greedy = tokens_of(must_run({1, 1}, generate_words()));
  EXPECT_EQ(tokens_of(must_run({2, 2}, generate_words({"--generate.temperature=5", "--generate.top_k=1"}))), greedy);
  EXPECT_EQ(tokens_of(must_run({1, 1}, generate_words({"--generate.temperature=1", "--generate.top_p=1e-9"}))), greedy);
  EXPECT_EQ(tokens_of(must_run({1, 1}, generate_words({"--generate.temperature=1e-4"}))), greedy);
}

TEST(ALogProbability, IsTheModelsWhateverWasDrawnFrom) {
  const auto sum = [](const json& result) {
    double total = 0;
    for (const json& one : result.at("sequences")) total += one.at("log_probability").get<double>();
    return total;
  };
  const double greedy = sum(must_run({1, 1}, generate_words()));
  EXPECT_NEAR(sum(must_run({2, 2}, generate_words({"--generate.temperature=5", "--generate.top_k=1"}))) / greedy, 1,
              1e-6);
  EXPECT_LT(greedy, 0);
}

TEST(AContinuation, EndsWhereTheModelHasNoPositionsLeft) {
  const TemporaryFolder folder;
  const fs::path model = copy_of_model(folder, 25);  // the longest prompt has 24 tokens
  for (const char* beams : {"--generate.beams=1", "--generate.beams=3"}) {
    const json result = must_run({2, 1}, generate_words({"--generate.stop_tokens=5000", beams}, model, 999));
    std::set<std::size_t> lengths;
    for (const json& one : result.at("sequences")) {
      EXPECT_EQ(one.at("stopped"), "length");
      lengths.insert(one.at("tokens").size());
    }
    EXPECT_EQ(*lengths.begin(), 1U);
    EXPECT_EQ(*lengths.rbegin(), 24U);  // after a prompt of one token
  }
}

TEST(AContinuation, StopsAtWhatTheGenerationConfigNames) {
  const TemporaryFolder folder;
  const fs::path model = copy_of_model(folder);
  const json free = tokens_of(must_run({1, 1}, generate_words()));
  const json third = free[0][2];
  std::ofstream(model / "generation_config.json") << json{{"eos_token_id", {third, 77}}};
  const json result = must_run({1, 1}, generate_words({}, model)).at("sequences");
  EXPECT_EQ(result[0].at("tokens"), (json{free[0][0], free[0][1]}));
  EXPECT_EQ(result[0].at("stopped"), "stop_token");
  std::ofstream(model / "generation_config.json") << json{{"eos_token_id", "two"}};
  const ProgramRun run = run_program({2, 2}, generate_words({}, model));
  EXPECT_EQ(run.status, kBadInput) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("generation_config.json"));
}

TEST(APrompt, ThatFillsTheModelsPositionsIsRefusedByNumber) {
  const TemporaryFolder folder;
  const fs::path model = copy_of_model(folder, 24);
  const ProgramRun run = run_program({2, 1}, generate_words({}, model));
  EXPECT_EQ(run.status, kBadInput) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("sequence 5 has 24 tokens, expected fewer than the model's 24 positions"));
}

TEST(ABeamSearch, ThatTheVocabularyCannotFeedIsRefused) {
  const ProgramRun run = run_program({1, 1}, generate_words({"--generate.beams=60"}));
  EXPECT_EQ(run.status, kUsage) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("generate.beams = 60"));
}

TEST(ACache, ThatCannotFitIsRefusedByNameBeforeTheWeights) {
  const TemporaryFolder folder;
  const fs::path model = copy_of_model(folder, 2'000'000'000);
  const ProgramRun run = run_program({1, 1}, generate_words({"--generate.beams=50"}, model, 5'000'000));
  EXPECT_EQ(run.status, kOutOfMemory) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("cache"));
}

TEST(AModelWhoseLogitsAreNotFinite, IsRefusedOnAllRanks) {
  const TemporaryFolder folder;
  const fs::path model = copy_of_model(folder);
  TensorMap tensors = read_safetensors(model / "model.safetensors");
  tensors.at("model.norm.weight").f32()[0] = std::nanf("");
  fs::remove(model / "model.safetensors");
  write_safetensors(model / "model.safetensors", tensors, {{"format", "pt"}});
  for (const Split& split : {Split{1, 1}, Split{2, 2}}) {
    const ProgramRun run = run_program(split, generate_words({}, model));
    EXPECT_EQ(run.status, kNotFinite) << run.errors;
    EXPECT_THAT(run.errors, HasSubstr("not finite"));
  }
}

}  // namespace
}  // namespace shardora
