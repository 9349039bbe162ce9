// What the program generates, against transformers' generate in float64 (made by make_generation_goldens.py): the same
// tokens and log-probabilities, greedy and by beams, at every split.
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/run_program.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kGenerationGolden = fs::path(SHARDORA_SOURCE_DIR) / "tests/parity/golden";
constexpr double kLogProbability = 2e-6;  // largest relative difference, of a whole continuation
constexpr Split kGenerationSplits[] = {{1, 1}, {3, 1}, {4, 2}, {4, 4}};

const json& cases() {
  static const json all = json::parse(std::ifstream(kGenerationGolden / "generation.json"));
  return all;
}

fs::path model_of(const json& one) {
  const std::string name = one.at("model"), in_data = "data:";
  if (!name.starts_with(in_data)) return kGenerationGolden / name;
  const char* const data = std::getenv("SHARDORA_TEST_DATA");
  return (data != nullptr ? fs::path(data) : fs::path(SHARDORA_SOURCE_DIR) / "../shared/data") /
         name.substr(in_data.size());
}

json run_case(const json& one, const Split& split, const std::vector<std::string>& more) {
  std::string stops;
  for (const json& token : one.at("stop_tokens")) stops += (stops.empty() ? "" : ",") + token.dump();
  std::vector<std::string> words = {
      "generate",
      "--model.path=" + model_of(one).string(),
      "--generate.prompts=" + (kGenerationGolden / one.at("prompts").get<std::string>()).string(),
      "--generate.beams=" + one.at("beams").dump(),
      "--generate.max_new_tokens=" + one.at("new_tokens").dump(),
      "--generate.stop_tokens=" + stops};
  if (!one.at("adapter").is_null()) {
    words.push_back("--adapter.path=" + (kGenerationGolden / one.at("adapter").get<std::string>()).string());
  }
  words.insert(words.end(), more.begin(), more.end());
  return must_run(split, words).at("sequences");
}

void expect_continuations(const json& found, const json& one) {
  const json& expected = one.at("continuations");
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    std::vector<int> tokens = expected[i].at("tokens");
    const std::vector<int> stops = one.at("stop_tokens");
    const bool stopped = std::find(stops.begin(), stops.end(), tokens.back()) != stops.end();
    if (stopped) tokens.pop_back();
    EXPECT_EQ(found[i].at("tokens").get<std::vector<int>>(), tokens) << "prompt " << i;
    EXPECT_EQ(found[i].at("stopped"), stopped ? "stop_token" : "length") << "prompt " << i;
    EXPECT_NEAR(found[i].at("log_probability").get<double>() / expected[i].at("log_probability").get<double>(), 1,
                kLogProbability)
        << "prompt " << i;
  }
}

class Generation : public testing::TestWithParam<std::size_t> {};

TEST_P(Generation, IsTheReferencesAtEverySplitAndBatch) {
  const json& one = cases().at(GetParam());
  if (!fs::exists(model_of(one))) GTEST_SKIP() << "no " << model_of(one) << "; SHARDORA_TEST_DATA names the test data";
  for (const Split& split : kGenerationSplits) {
    SCOPED_TRACE(to_string(split));
    expect_continuations(run_case(one, split, {}), one);
  }
  SCOPED_TRACE("few at a time");
  expect_continuations(run_case(one, {1, 1}, {"--generate.batch_tokens=150"}), one);
}

INSTANTIATE_TEST_SUITE_P(Cases, Generation, testing::Range(std::size_t{0}, cases().size()), [](const auto& index) {
  return cases().at(index.param).at("name").template get<std::string>();
});

}  // namespace
}  // namespace shardora
