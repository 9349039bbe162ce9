// Memory as a user meets it: told before the first step, refused where it cannot fit, warned of once.
#include <regex>
#include <thread>

#include "tests/end_to_end/small_run.h"
#include "tests/support/sanitized.h"

namespace shardora {
namespace {

// A model of this shape without weights: only config.json.
fs::path model_of(const fs::path& folder, int hidden, int layers) {
  json config = json::parse(text_of(kModel / "config.json"));
  config["hidden_size"] = hidden;
  config["intermediate_size"] = 4 * hidden;
  config["num_hidden_layers"] = layers;
  config["head_dim"] = hidden / config.at("num_attention_heads").get<int>();
  config.erase("layer_types");
  fs::create_directories(folder);
  std::ofstream(folder / "config.json") << config.dump();
  return folder;
}

Words random_words(const fs::path& model, const fs::path& output) {
  return {"train",
          "--model.path=" + model.string(),
          "--model.init=random",
          "--adapter.method=full",
          "--data.train=" + kData.string(),
          "--train.steps=1",
          "--train.global_batch=2",
          "--output.checkpoint_every=0",
          "--output.dir=" + output.string()};
}

TEST(AModelThatCannotFit, IsRefusedBeforeItsWeights) {
  const TemporaryFolder folder;
  const fs::path model = model_of(folder / "model", 16384, 400);  // 5 TB; made, it would take hours
  for (const Split& split : {Split{1, 1}, Split{2, 2}}) {
    const ProgramRun run = run_program(split, random_words(model, folder / to_string(split)));
    EXPECT_EQ(run.status, kOutOfMemory) << run.errors;
    EXPECT_THAT(run.errors,
                ::testing::AllOf(::testing::HasSubstr("not enough memory"), ::testing::HasSubstr("optimizer"),
                                 ::testing::HasSubstr("parallel.tensor")));
  }
}

TEST(AModelAboveTheProcessLimit, IsRefusedWithTheLimit) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer takes memory of its own";
  const TemporaryFolder folder;
  const fs::path model = model_of(folder / "model", 1024, 12);  // 3 GB with gradients and moments
  const ProgramRun run = run_program({1, 1}, random_words(model, folder / "run"), 120, "ulimit -v 2500000; ");
  EXPECT_EQ(run.status, kOutOfMemory) << run.errors;
  EXPECT_THAT(run.errors,
              ::testing::AllOf(::testing::HasSubstr("not enough memory"), ::testing::HasSubstr("ulimit -v")));
}

// The line that a run ends with.
std::pair<double, double> measured_and_expected(const ProgramRun& run) {
  std::smatch found;
  const std::regex line("peak memory of a rank: ([0-9.]+) MiB; expected before the first step: ([0-9.]+) MiB");
  if (!std::regex_search(run.errors, found, line)) return {0, -1};
  return {std::stod(found[1]), std::stod(found[2])};
}

TEST(PeakMemory, IsKnownBeforeTheFirstStep) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer takes memory of its own";
  const TemporaryFolder folder;
  const fs::path model = model_of(folder / "model", 512, 12);  // 200 MB, and three times that beside
  for (const Split& split : {Split{1, 1}, Split{2, 2}}) {
    const ProgramRun run = run_program(split, random_words(model, folder / to_string(split)));
    ASSERT_EQ(run.status, 0) << run.errors;
    const auto [measured, expected] = measured_and_expected(run);
    EXPECT_NEAR(measured / expected, 1.0, 0.05) << run.errors;
    EXPECT_THAT(run.errors, ::testing::ContainsRegex("\n  optimizer +[0-9.]+ MiB"));
  }
}

TEST(MoreThreadsThanCores, AreWarnedOfOnce) {
  const TemporaryFolder folder;
  const int threads = static_cast<int>(std::thread::hardware_concurrency()) + 1;
  const ProgramRun run = run_program({2, 1}, train_words(folder / "run") + Words{"--train.steps=1"}, 120, "", threads);
  const std::string warning = "parallel.threads = " + std::to_string(threads) + " is more";
  const std::size_t first = run.errors.find(warning);
  EXPECT_NE(first, std::string::npos) << run.errors;
  EXPECT_EQ(run.errors.find(warning, first + 1), std::string::npos) << run.errors;
}

}  // namespace
}  // namespace shardora
