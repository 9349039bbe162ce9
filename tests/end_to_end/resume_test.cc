// A run that is stopped and continued is the run that was never stopped: to the bit at one split, to rounding at
// another.
#include <algorithm>
#include <numeric>

#include "kernels/backend.h"
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Dropout, shuffling, warm-up and a falling rate: all that a resumed run could get wrong. 9 steps of 6 sequences cross
// the epoch's end of the 32 sequences.
Words resumable(const fs::path& output, const std::string& checkpoint_every = "1") {
  return train_words(output) + Words{"--train.steps=9", "--adapter.dropout=0.2", "--train.warmup_steps=2",
                                     "--output.checkpoint_every=" + checkpoint_every,
                                     "--train.magnitude_learning_rate=2e-2"};
}

class Resume : public ::testing::TestWithParam<Split> {};

TEST_P(Resume, AfterEveryStepGivesTheBitsOfTheStraightRun) {
  const TemporaryFolder folder;
  must_run(GetParam(), resumable(folder / "straight"));
  int starts = 0, status = kStoppedEarly;
  while (status == kStoppedEarly && starts < 12) {  // the time limit has always passed: one step a start
    // Nothing but the stop saves before the last step.
    const ProgramRun run = run_program(GetParam(), resumable(folder / "stopped", "9") + Words{"--train.stop_at=1"});
    status = run.status;
    ASSERT_TRUE(status == 0 || status == kStoppedEarly) << run.errors;
    ++starts;
  }
  EXPECT_EQ(starts, 9);
  EXPECT_EQ(adapter_bytes(folder / "stopped"), adapter_bytes(folder / "straight"));
  for (const char* key : {"loss", "gradient_norm", "learning_rate", "tokens"}) {
    EXPECT_EQ(values(folder / "stopped", key), values(folder / "straight", key)) << key;
  }
  EXPECT_EQ(losses(folder / "stopped").size(), 9U);
  // Moments, counters, and the magnitudes that the drift is measured from.
  const char* const state = "checkpoints/step-9/state.safetensors";
  EXPECT_EQ(text_of(folder / "stopped" / state), text_of(folder / "straight" / state));
}

INSTANTIATE_TEST_SUITE_P(Splits, Resume, ::testing::Values(Split{1, 1}, Split{2, 2}, Split{4, 2}),
                         [](const auto& parameter) {
                           return std::to_string(parameter.param.ranks) + "x" + std::to_string(parameter.param.tensor);
                         });

// kData has 11 sequences: 4, 4, and 3 that are left.
Words one_epoch(const fs::path& output) {
  Words words = train_words(output) + Words{"--adapter.target_modules=q_proj", "--train.epochs=1"};
  std::replace(words.begin(), words.end(), std::string("--train.global_batch=6"),
               std::string("--train.global_batch=4"));
  std::replace(words.begin(), words.end(), std::string("--adapter.rank=4"), std::string("--adapter.rank=1"));
  return words;
}

TEST(AnEpochsLastStep, HoldsWhatIsLeftAtEverySplit) {
  const TemporaryFolder folder;
  must_run({1, 1}, one_epoch(folder / "one"));
  const std::vector<double> tokens = values(folder / "one", "tokens"), loss = losses(folder / "one");
  std::int64_t all = 0;
  TensorMap data = read_safetensors(kData);
  all = data.at("tokens").shape.at(0);
  EXPECT_EQ(tokens.size(), 3U);
  EXPECT_EQ(std::accumulate(tokens.begin(), tokens.end(), 0.0), static_cast<double>(all));
  for (const Split& split : {Split{2, 1}, Split{4, 1}, Split{2, 2}, Split{4, 2}}) {  // at 4, a rank has nothing to do
    const fs::path run = folder / to_string(split);
    must_run(split, one_epoch(run));
    EXPECT_EQ(values(run, "tokens"), tokens);
    for (std::size_t i = 0; i < loss.size(); ++i) EXPECT_NEAR(losses(run).at(i), loss[i], 1e-5) << to_string(split);
  }
  const ProgramRun stopped = run_program({1, 1}, one_epoch(folder / "stopped") + Words{"--train.stop_at=1"});
  EXPECT_EQ(stopped.status, kStoppedEarly);
  must_run({1, 1}, one_epoch(folder / "stopped"));
  EXPECT_EQ(adapter_bytes(folder / "stopped"), adapter_bytes(folder / "one"));
}

// Gradients that are summed layer by layer: a rank without a sequence takes part.
TEST(AnEpochsLastStep, SumsLargeGradientsWithARankThatHasNothingToDo) {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& name, const Split& split) {
    Words words = one_epoch(folder / name) + Words{"--adapter.method=lora", "--output.checkpoint_every=0"};
    std::replace(words.begin(), words.end(), std::string("--adapter.rank=1"), std::string("--adapter.rank=20000"));
    must_run(split, words + (split.ranks > 1 ? Words{"--parallel.check_collectives=true"} : Words{}));
    return values(folder / name, "gradient_norm");
  };
  const std::vector<double> one = run("one", {1, 1}), four = run("four", {4, 1});
  ASSERT_EQ(one.size(), four.size());
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(four[i] / one[i], 1, 1e-4);
}

TEST(AStep, ThatRepeatsSequencesIsWarnedOf) {
  const TemporaryFolder folder;
  const auto said = [&](const std::string& name, const Words& more) {
    Words words = one_epoch(folder / name) + more;
    std::replace(words.begin(), words.end(), std::string("--train.global_batch=4"),
                 std::string("--train.global_batch=32"));
    const ProgramRun run = run_program({2, 1}, words);
    EXPECT_EQ(run.status, 0) << run.errors;
    return run.errors;
  };
  EXPECT_THAT(said("epoch", {}), Not(HasSubstr("it repeats them")));
  Words words = one_epoch(folder / "steps");
  words.back() = "--train.steps=1";
  std::replace(words.begin(), words.end(), std::string("--train.global_batch=4"),
               std::string("--train.global_batch=32"));
  EXPECT_THAT(run_program({1, 1}, words).errors,
              HasSubstr("train.global_batch = 32 holds 2.9 epochs of the 11 sequences of " + kData.string()));
}

TEST(ResumeElsewhere, ContinuesAtAnySplitWithinRounding) {
  const TemporaryFolder folder;
  must_run({1, 1}, resumable(folder / "straight"));
  must_run({1, 1}, train_words(folder / "start", "1e-30") + Words{"--train.steps=1"});
  const Split splits[] = {{1, 1}, {2, 1}, {2, 2}, {4, 2}, {4, 4}, {2, 1}, {1, 1}, {4, 1}, {2, 2}};
  for (const Split& split : splits) {
    const ProgramRun run = run_program(split, resumable(folder / "moved") + Words{"--train.stop_at=1"});
    ASSERT_TRUE(run.status == 0 || run.status == kStoppedEarly) << to_string(split) << run.errors;
  }
  const std::vector<double> straight = losses(folder / "straight"), moved = losses(folder / "moved");
  ASSERT_EQ(moved.size(), straight.size());
  for (std::size_t i = 0; i < moved.size(); ++i) EXPECT_NEAR(moved[i] / straight[i], 1.0, 1e-5);
  EXPECT_LT(worst_update(folder / "moved", folder / "straight", folder / "start"), 1e-3);
}

TEST(ResumeFull, GivesTheBitsOfTheStraightRun) {
  const TemporaryFolder folder;
  const auto words = [&](const char* name) {
    Words full = train_words(folder / name) + Words{"--train.steps=3", "--adapter.method=full"};
    std::erase(full, "--adapter.rank=4");
    return full;
  };
  must_run({2, 2}, words("straight"));
  for (int start = 0; start < 3; ++start) run_program({2, 2}, words("stopped") + Words{"--train.stop_at=1"});
  EXPECT_EQ(text_of(folder / "stopped/model/model.safetensors"), text_of(folder / "straight/model/model.safetensors"));
  EXPECT_EQ(losses(folder / "stopped"), losses(folder / "straight"));
}

TEST(ResumeAtAnotherInstructionSet, ContinuesAndSaysSo) {
  if (instruction_sets().size() < 2) GTEST_SKIP() << "this processor has one level only";
  const TemporaryFolder folder;
  const auto one_step_at = [&](const std::string& level) {
    const ProgramRun run = run_program(
        {2, 2}, resumable(folder / "run") + Words{"--train.stop_at=1", "--parallel.instruction_set=" + level});
    EXPECT_EQ(run.status, kStoppedEarly) << run.errors;
    return run.errors;
  };
  one_step_at("x86-64");
  EXPECT_THAT(one_step_at("x86-64"), AllOf(HasSubstr("x86-64, oneDNN"), Not(HasSubstr("saved at"))));
  const std::string other = one_step_at("x86-64-v3");
  EXPECT_THAT(other, HasSubstr("step-2 was saved at the instruction set x86-64, and this run uses x86-64-v3"));
}

TEST(ResumeFromDamage, TakesTheCheckpointBefore) {
  const TemporaryFolder folder;
  must_run({1, 1}, resumable(folder / "straight"));
  const Words words = resumable(folder / "damaged") + Words{"--train.stop_at=1"};
  for (int start = 0; start < 3; ++start) run_program({1, 1}, words);
  fs::resize_file(folder / "damaged/checkpoints/step-3/state.safetensors", 1000);
  const ProgramRun run = run_program({1, 1}, resumable(folder / "damaged"));
  EXPECT_EQ(run.status, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("step-3"));
  EXPECT_EQ(adapter_bytes(folder / "damaged"), adapter_bytes(folder / "straight"));
}

TEST(ResumeWithAnotherConfiguration, IsRefusedWithBothValues) {
  const TemporaryFolder folder;
  const auto expect_refused = [&](const std::string& change, const std::string& before, const std::string& now) {
    const ProgramRun run = run_program({1, 1}, resumable(folder / "run") + Words{change});
    EXPECT_EQ(run.status, kMismatch) << change << run.errors;
    EXPECT_THAT(run.errors, AllOf(HasSubstr(before), HasSubstr(now)));
  };
  run_program({1, 1}, resumable(folder / "run") + Words{"--train.stop_at=1"});
  const auto replaced = [&](const std::string& from, const std::string& to) {
    Words words = resumable(folder / "run");
    std::replace(words.begin(), words.end(), from, to);
    return run_program({1, 1}, words);
  };
  for (const auto& [from, to, before, now] :
       {std::tuple{"--adapter.rank=4", "--adapter.rank=8", "is 8 now", "was 4"},
        std::tuple{"--train.seed=3", "--train.seed=4", "is 4 now", "was 3"},
        std::tuple{"--train.learning_rate=1e-2", "--train.learning_rate=2e-2", "is 0.02 now", "was 0.01"}}) {
    const ProgramRun run = replaced(from, to);
    EXPECT_EQ(run.status, kMismatch) << to << run.errors;
    EXPECT_THAT(run.errors, AllOf(HasSubstr(before), HasSubstr(now)));
  }
  expect_refused("--adapter.alpha=8", "is 8 now", "was 32");
  expect_refused("--train.deterministic=true", "is true now", "was false");
}

TEST(AFinishedRun, SaysItsResultAgain) {
  const TemporaryFolder folder;
  const Words words = train_words(folder / "run") + Words{"--train.steps=2", "--data.eval=" + kHeldOut.string()};
  const json first = must_run({2, 1}, words), again = must_run({2, 1}, words);
  EXPECT_EQ(first, again);
  // More steps continue it.
  const json more = must_run({2, 1}, train_words(folder / "run") + Words{"--train.steps=3"});
  EXPECT_EQ(more.at("steps"), 3);
}

TEST(AFinishedRun, StartsAnewWhereItMayBeOverwritten) {
  const TemporaryFolder folder;
  const Words words = train_words(folder / "run") + Words{"--train.steps=2"};
  must_run({1, 1}, words);
  const std::string before = adapter_bytes(folder / "run");
  fs::remove(folder / "run/adapter/adapter_model.safetensors");
  must_run({1, 1}, words + Words{"--output.overwrite=true"});
  EXPECT_EQ(losses(folder / "run").size(), 2);
  EXPECT_EQ(adapter_bytes(folder / "run"), before);
}

TEST(ARunThatStopsEarly, KeepsTheBestAdapter) {
  const TemporaryFolder folder;
  const Words words = train_words(folder / "run") + Words{"--train.steps=40",
                                                          "--train.eval_every=1",
                                                          "--train.save_best=true",
                                                          "--train.early_stopping=2",
                                                          "--data.eval=" + kHeldOut.string(),
                                                          "--train.schedule=constant",
                                                          "--output.checkpoint_every=100"};
  const json result = must_run({2, 2}, words);
  EXPECT_LT(result.at("steps"), 40);
  fs::remove(folder / "run/result.json");  // killed after its last checkpoint
  EXPECT_EQ(must_run({2, 2}, words).at("steps"), result.at("steps"));
  double best = 1e9;
  std::ifstream file(folder / "run/metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    const json object = json::parse(line);
    if (object.contains("eval_loss")) best = std::min(best, object.at("eval_loss").get<double>());
  }
  const json evaluated =
      must_run({1, 1}, {"eval", "--model.path=" + kModel.string(),
                        "--adapter.path=" + (folder / "run/adapter").string(), "--data.eval=" + kHeldOut.string()});
  EXPECT_NEAR(evaluated.at("loss").get<double>(), best, 1e-5 * best);
}

}  // namespace
}  // namespace shardora
