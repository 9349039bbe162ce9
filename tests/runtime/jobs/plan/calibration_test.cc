// What was measured of a machine, and the file that keeps it.
#include "runtime/jobs/plan/calibration.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/jobs/plan/plan.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr ProductShape kProduct{.rows = 17, .out = 24, .in = 40};

MeasuredSpeeds::Machine machine(const fs::path& file, int ranks = 1) {
  return {.backend = {.threads = 1}, .ranks = ranks, .weights = {}, .file = file};
}

json read(const fs::path& file) { return json::parse(text_of(file)); }

TEST(Calibration, MeasuresEachShapeOnceAndKeepsIt) {
  const TemporaryFolder folder;
  const fs::path file = folder / "calibration.json";
  MeasuredSpeeds speeds(machine(file));
  const double forward = speeds.product(kProduct, true), backward = speeds.product(kProduct, false);
  EXPECT_GT(forward, 1e6);
  EXPECT_LT(forward, 1e13);
  EXPECT_EQ(speeds.product(kProduct, true), forward);
  EXPECT_GT(speeds.attention({.heads = 2, .kv_heads = 1, .head_dim = 8, .length = 17, .sequences = 2}, false), 0);
  EXPECT_GT(speeds.adapter(kProduct, 3), 0);
  EXPECT_GT(speeds.elementwise(17, 24, 37), 0);
  EXPECT_GT(speeds.loss(17, 127), 0);
  speeds.save();
  EXPECT_EQ(read(file).at("figures").size(), 6U);
  MeasuredSpeeds again(machine(file));
  EXPECT_DOUBLE_EQ(again.product(kProduct, true), forward);
  EXPECT_DOUBLE_EQ(again.product(kProduct, false), backward);
}

TEST(Calibration, RanksShareTheMachine) {
  const TemporaryFolder folder;
  MeasuredSpeeds one(machine(folder / "calibration.json"));
  const double alone = one.product(kProduct, true);
  one.save();
  EXPECT_DOUBLE_EQ(MeasuredSpeeds(machine(folder / "calibration.json", 4)).product(kProduct, true), alone / 4);
}

TEST(Calibration, OfAnotherMachineIsUsedButNotAddedTo) {
  const TemporaryFolder folder;
  const fs::path file = folder / "calibration.json";
  MeasuredSpeeds here(machine(file));
  const double known = here.product(kProduct, true);
  here.save();
  json document = read(file);
  document["machine"] = "another processor, x86-64-v4";
  std::ofstream(file) << document.dump();
  MeasuredSpeeds there(machine(file));
  EXPECT_THAT(there.processor(), testing::HasSubstr("another"));
  EXPECT_DOUBLE_EQ(there.product(kProduct, true), known);
  expect_error(ExitStatus::kMismatch, {"another processor", "[24,40]", "plan.calibration"},
               [&] { there.product({.rows = 18, .out = 24, .in = 40}, true); });
}

TEST(Calibration, ABrokenFileIsRefusedByName) {
  const TemporaryFolder folder;
  const fs::path file = folder / "calibration.json";
  for (const auto& [text, word] :
       {std::pair("{", "calibration.json"), std::pair(R"({"format":"x","machine":"m","figures":{}})", "format"),
        std::pair(R"({"format":"shardora.calibration.v1","machine":"m"})", "figures"),
        std::pair(R"({"format":"shardora.calibration.v1","machine":"m","figures":{"a":0}})", "a is 0")}) {
    std::ofstream(file) << text;
    expect_error(ExitStatus::kBadInput, {word}, [&] { MeasuredSpeeds speeds(machine(file)); });
  }
}

// Half the speed of everything, twice the time.
TEST(Calibration, ItsFiguresMakeTheTimeOfAStep) {
  const TemporaryFolder folder;
  const fs::path file = folder / "calibration.json";
  RunOptions options;
  options.plan.shape = "260K";
  options.plan.calibration = file.string();
  options.plan.device_memory = 1000;
  options.data.sequence_length = 16;
  options.train.global_batch = 2;
  options.parallel.threads = 1;
  const StepTime before = make_plan(options).splits.at(0).time;
  EXPECT_GT(before.total(), 0);
  json document = read(file);
  for (json& figure : document["figures"]) figure = figure.get<double>() / 2;
  std::ofstream(file) << document.dump();
  const StepTime after = make_plan(options).splits.at(0).time;
  for (const auto& [name, part] : kTimeParts) EXPECT_NEAR(after.*part, 2 * (before.*part), 1e-9) << name;
}

}  // namespace
}  // namespace shardora
