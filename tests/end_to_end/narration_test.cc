// What a run says on standard error, and in which order.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

std::size_t times(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ARunSays, WhatItIsOnceInOneTable) {
  const TemporaryFolder folder;
  const ProgramRun run = run_program({2, 2}, train_words(folder / "run") + Words{"--train.steps=2"});
  ASSERT_EQ(run.status, 0) << run.errors;
  for (const char* row :
       {"this run\n", "\n  trained ", "\n  ranks              2 = 1 data x 2 tensor\n", "\n  device of rank 0   cpu",
        "\n  steps              1 to 2, of 6 sequences", "\n  activations "}) {
    EXPECT_EQ(times(run.errors, row), 1U) << row << "\n" << run.errors;
  }
  EXPECT_LT(run.errors.find("this run"), run.errors.find("step 1/2")) << run.errors;
}

// The learning rate changes nothing, so that the second evaluation is no better, and step 2, whose line is not due yet,
// is the last.
TEST(ARunSays, ItsLastStepBeforeWhatItSaysAtTheEnd) {
  const TemporaryFolder folder;
  const ProgramRun run = run_program({1, 1}, train_words(folder / "run", "1e-30") +
                                                 Words{"--train.steps=1000", "--train.eval_every=1",
                                                       "--train.early_stopping=1", "--data.eval=" + kHeldOut.string()});
  ASSERT_EQ(run.status, 0) << run.errors;
  EXPECT_EQ(times(run.errors, "step 2/1000 "), 1U) << run.errors;
  EXPECT_LT(run.errors.find("step 2/1000 "), run.errors.find("peak memory of a rank")) << run.errors;
}

}  // namespace
}  // namespace shardora
