// What a run says of its speed: the model's work of each step, and their mean at the end.
#include <regex>

#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

double mean_by_time(const std::vector<double>& speeds, const std::vector<double>& seconds) {
  double work = 0, time = 0;
  for (std::size_t i = 0; i < speeds.size(); ++i) work += speeds[i] * seconds[i], time += seconds[i];
  return work / time;
}

TEST(Speed, OfTheStepsIsTheirMeanInTheLogsEnd) {
  for (const Split& split : {Split{1, 1}, Split{2, 1}, Split{2, 2}}) {
    const TemporaryFolder folder;
    const ProgramRun run = run_program(split, train_words(folder / "run") + Words{"--train.steps=4"});
    ASSERT_EQ(run.status, 0) << run.errors;
    const std::vector<double> flops = values(folder / "run", "model_flops_per_second"),
                              seconds = values(folder / "run", "seconds");
    ASSERT_EQ(flops.size(), 4U);
    std::smatch found;
    const std::regex line("([0-9]+) tokens/s, ([-+.e0-9]+) model TFLOP/s per rank\n");
    ASSERT_TRUE(std::regex_search(run.errors, found, line)) << run.errors;
    EXPECT_NEAR(std::stod(found[1]) / mean_by_time(values(folder / "run", "tokens_per_second"), seconds), 1, 0.01);
    EXPECT_NEAR(std::stod(found[2]) * 1e12 / mean_by_time(flops, seconds), 1, 1e-3);
  }
}

// Of one step, times its seconds and ranks: the same at every split.
TEST(Speed, TheModelsWorkDoesNotDependOnTheSplit) {
  std::vector<double> work;
  for (const Split& split : {Split{1, 1}, Split{2, 1}, Split{4, 4}}) {
    const TemporaryFolder folder;
    must_run(split, train_words(folder / "run") + Words{"--train.steps=1"});
    work.push_back(values(folder / "run", "model_flops_per_second")[0] * values(folder / "run", "seconds")[0] *
                   split.ranks);
  }
  EXPECT_GT(work[0], 0);
  EXPECT_NEAR(work[1] / work[0], 1, 1e-12);
  EXPECT_NEAR(work[2] / work[0], 1, 1e-12);
}

}  // namespace
}  // namespace shardora
