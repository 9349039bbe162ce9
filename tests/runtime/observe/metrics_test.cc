// metrics.jsonl: what a line holds, and what a resumed run keeps of an earlier one's.
#include "runtime/observe/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "runtime/system/proc.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

class MetricsTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "metrics.jsonl";

  std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> result;
    std::istringstream text(text_of(path_));
    for (std::string line; std::getline(text, line);) result.push_back(nlohmann::json::parse(line));
    return result;
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> result;
    for (const auto& line : lines()) result.push_back(line.at("step").get<std::int64_t>());
    return result;
  }
};

TEST_F(MetricsTest, NumbersReadBackAsTheSameDoubles) {
  const StepMetrics step{.step = 3,
                         .loss = 1.0 / 3,
                         .learning_rate = 2e-4,
                         .gradient_norm = std::numeric_limits<double>::denorm_min(),
                         .tokens = 9'007'199'254'740'993,
                         .seconds = 0.1,
                         .tokens_per_second = 12345.678901234567,
                         .model_flops_per_second = 4.1e14,
                         .model_flops_utilisation = 0.41,
                         .peak_memory_bytes = 1 << 30,
                         .magnitude_drift = StepMetrics::Drift{1e-9, 0.7},
                         .phases = {0.01, 0.02, 0.04, 0.08, 0.16, 1.0 / 7}};
  Metrics metrics(path_, 0);
  metrics.write(step);
  const auto line = lines().at(0);  // flushed: read while it is open
  EXPECT_EQ(line.at("step"), 3);
  EXPECT_EQ(line.at("loss").get<double>(), step.loss);
  EXPECT_EQ(line.at("learning_rate").get<double>(), step.learning_rate);
  EXPECT_EQ(line.at("gradient_norm").get<double>(), step.gradient_norm);
  EXPECT_EQ(line.at("tokens").get<std::int64_t>(), step.tokens);
  EXPECT_EQ(line.at("seconds").get<double>(), step.seconds);
  EXPECT_EQ(line.at("tokens_per_second").get<double>(), step.tokens_per_second);
  EXPECT_EQ(line.at("model_flops_per_second").get<double>(), 4.1e14);
  EXPECT_EQ(line.at("model_flops_utilisation").get<double>(), 0.41);
  EXPECT_EQ(line.at("peak_memory_bytes").get<std::int64_t>(), step.peak_memory_bytes);
  EXPECT_EQ(line.at("magnitude_drift").at("mean").get<double>(), 1e-9);
  EXPECT_EQ(line.at("magnitude_drift").at("max").get<double>(), 0.7);
  EXPECT_EQ(line.at("phases").at("data").get<double>(), 0.01);
  EXPECT_EQ(line.at("phases").at("norms").get<double>(), 0.08);
  EXPECT_EQ(line.at("phases").at("optimizer").get<double>(), 1.0 / 7);
  EXPECT_EQ(line.at("phases").size(), kPhaseNames.size());
  EXPECT_EQ(line.size(), 12U);
}

TEST_F(MetricsTest, WhatIsAbsentIsNotWrittenAndWhatIsNotFiniteIsNull) {
  Metrics metrics(path_, 0);
  metrics.write({.step = 1, .loss = std::numeric_limits<double>::quiet_NaN()});
  metrics.write_evaluation(1, "", 0.5, 1.6, 100);
  metrics.write_evaluation(1, "held out", 0.25, 1.3, 7);
  const auto all = lines();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_FALSE(all[0].contains("magnitude_drift"));
  EXPECT_FALSE(all[0].contains("model_flops_utilisation"));
  EXPECT_TRUE(all[0].at("loss").is_null());
  EXPECT_EQ(all[1], nlohmann::json::parse(R"({"step":1,"eval_loss":0.5,"eval_perplexity":1.6,"eval_tokens":100})"));
  EXPECT_EQ(all[2].at("eval_name"), "held out");
}

TEST_F(MetricsTest, DriftByLayerStandsInEvaluationsAndWhatHasNoneIsNull) {
  Metrics metrics(path_, 0);
  metrics.write_evaluation(1, "", 0.5, 1.6, 100, {0.125, std::numeric_limits<double>::quiet_NaN(), 1.0 / 3});
  const auto layers = lines().at(0).at("magnitude_drift_by_layer");
  ASSERT_EQ(layers.size(), 3U);
  EXPECT_EQ(layers[0].get<double>(), 0.125);
  EXPECT_TRUE(layers[1].is_null());
  EXPECT_EQ(layers[2].get<double>(), 1.0 / 3);
}

TEST_F(MetricsTest, AResumedRunCutsLinesPastItsCheckpoint) {
  {
    Metrics metrics(path_, 0);
    for (std::int64_t step = 1; step <= 7; ++step) metrics.write({.step = step, .loss = 0.5});
    metrics.write_evaluation(7, "", 1, 1, 1);
  }
  const std::string straight = text_of(path_);
  {
    Metrics metrics(path_, 4);
    EXPECT_THAT(steps(), testing::ElementsAre(1, 2, 3, 4));
    for (std::int64_t step = 5; step <= 7; ++step) metrics.write({.step = step, .loss = 0.5});
    metrics.write_evaluation(7, "", 1, 1, 1);
    metrics.sync();
  }
  EXPECT_EQ(text_of(path_), straight);
}

TEST_F(MetricsTest, AnEvaluationThatIsMadeAgainStandsOnce) {
  {
    Metrics metrics(path_, 0, 2);
    for (std::int64_t step = 1; step <= 2; ++step) {
      metrics.write({.step = step});
      metrics.write_evaluation(step, "", 1, 1, 1);
    }
  }
  const Metrics metrics(path_, 2, 2);  // killed after the last step's checkpoint
  EXPECT_THAT(steps(), testing::ElementsAre(1, 1, 2));
}

TEST_F(MetricsTest, AFreshRunKeepsNothing) {
  put_text(path_, "{\"step\":1}\n");
  const Metrics metrics(path_, 0);
  EXPECT_EQ(text_of(path_), "");
}

TEST_F(MetricsTest, ATornLastLineIsDropped) {
  for (const char* torn : {"{\"step\":2,\"lo", "{\"step\":2}", ""}) {
    put_text(path_, std::string("{\"step\":1}\n") + torn);
    Metrics metrics(path_, 5);
    metrics.write_evaluation(2, "", 1, 1, 1);
    EXPECT_THAT(steps(), testing::ElementsAre(1, 2)) << torn;
  }
}

TEST_F(MetricsTest, LinesThatAreNotMetricsAreDropped) {
  put_text(path_, "{\"step\":1}\nnoise\n[1]\n{\"loss\":1}\n{\"step\":\"2\"}\n{\"step\":2}\n");
  const Metrics metrics(path_, 5);
  EXPECT_THAT(steps(), testing::ElementsAre(1, 2));
}

TEST_F(MetricsTest, AnInactiveOneSwallowsEverything) {
  Metrics metrics;
  metrics.write({.step = 1});
  metrics.write_evaluation(1, "", 1, 1, 1);
  metrics.sync();
  metrics = Metrics(path_, 0);
  metrics.write({.step = 1});
  EXPECT_THAT(steps(), testing::ElementsAre(1));
}

TEST_F(MetricsTest, AMissingFolderIsRefused) {
  expect_error(ExitStatus::kIo, {"none/metrics.jsonl", "No such file"},
               [&] { Metrics(folder_ / "none/metrics.jsonl", 0); });
}

TEST(PeakMemory, GrowsWithWhatIsTouched) {
  const std::int64_t before = peak_memory_bytes();
  EXPECT_GT(before, 1 << 20);
  const std::vector<char> block(256 << 20, 1);
  EXPECT_EQ(block.back(), 1);
  EXPECT_GE(peak_memory_bytes(), before + (100 << 20));
}

TEST(MonotonicSeconds, NeverFalls) {
  const double first = monotonic_seconds();
  EXPECT_GE(monotonic_seconds(), first);
}

}  // namespace
}  // namespace shardora
