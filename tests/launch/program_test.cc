// The program as a shell sees it: exit status, who prints what, and how fast a mistake is told.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "launch/commands/commands.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

struct Outcome {
  int status = -1;
  std::string output;
  double seconds = 0;
};

Outcome shell(const std::string& command) {
  const auto start = std::chrono::steady_clock::now();
  std::FILE* const pipe = popen(command.c_str(), "r");
  Outcome outcome;
  std::array<char, 4096> piece;
  while (const std::size_t read = std::fread(piece.data(), 1, piece.size(), pipe)) {
    outcome.output.append(piece.data(), read);
  }
  const int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

const std::string kProgram = SHARDORA_PROGRAM;
// As root in a container, and on fewer cores than ranks.
const std::string kMpirun =
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 " SHARDORA_MPIEXEC " -q --oversubscribe --bind-to none ";

Outcome errors_of(const std::string& words) { return shell(kProgram + " " + words + " 2>&1 >/dev/null"); }

int times(const std::string& text, const std::string& part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Program, AnswersHelpAndVersionAtOnceOnStandardOutput) {
  for (const char* words : {"--help", "--version", "train --help", "eval --model.path=x --help"}) {
    const Outcome outcome = shell(kProgram + " " + words + " 2>/dev/null");
    EXPECT_EQ(outcome.status, 0) << words;
    EXPECT_THAT(outcome.output, Not(IsEmpty())) << words;
    EXPECT_LT(outcome.seconds, 1) << words;
  }
  EXPECT_THAT(shell(kProgram + " --version").output, StartsWith("shardora " SHARDORA_VERSION));
  EXPECT_THAT(shell(kProgram + " train --help").output, HasSubstr("--adapter.rank"));
}

TEST(Program, AMistakeOnTheCommandLineEndsWith64AndOneLineThatSaysWhat) {
  const std::pair<const char*, const char*> mistakes[] = {{"", "a command is missing"},
                                                          {"trian", "unknown command 'trian'"},
                                                          {"train --adapter.rnk=3", "did you mean 'adapter.rank'"},
                                                          {"train --model.path=m", "is missing: train needs"},
                                                          {"eval --config=/nowhere.cfg", "/nowhere.cfg"}};
  for (const auto& [words, message] : mistakes) {
    const Outcome outcome = errors_of(words);
    EXPECT_EQ(outcome.status, 64) << words;
    EXPECT_THAT(outcome.output, AllOf(StartsWith("shardora: [rank 0] "), HasSubstr(message))) << words;
    EXPECT_EQ(times(outcome.output, "\n"), 1) << outcome.output;
    EXPECT_LT(outcome.seconds, 5) << words;  // a second, on a machine that does nothing else
  }
}

TEST(Program, AMistakeOnAllRanksIsToldOnceAndEndsAllWith64) {
  const Outcome outcome = shell(kMpirun + "-n 3 " + kProgram + " train --adapter.rnk=3 2>&1");
  EXPECT_EQ(outcome.status, 64);
  EXPECT_EQ(times(outcome.output, "did you mean"), 1) << outcome.output;
}

TEST(Program, ATensorSizeThatDoesNotDivideTheRanksIsRefusedOnce) {
  const Outcome outcome =
      shell(kMpirun + "-n 3 " + kProgram + " eval --model.path=m --data.eval=d --parallel.tensor=2 2>&1");
  EXPECT_EQ(outcome.status, 64);
  EXPECT_EQ(times(outcome.output, "expected one of 1, 3"), 1) << outcome.output;
}

TEST(Program, RanksWithAnotherConfigurationAreNamedAndEndWith66) {
  const std::string train =
      kProgram + " train --model.path=m --data.train=d --output.dir=o --train.steps=1 --train.seed=";
  const Outcome outcome = shell(kMpirun + "-n 2 " + train + "7 : -n 1 " + train + "8 2>&1");
  EXPECT_EQ(outcome.status, 66);
  EXPECT_THAT(outcome.output, AllOf(HasSubstr("'train.seed = 7'"), HasSubstr("'train.seed = 8'"), HasSubstr("rank 2")));
  EXPECT_EQ(times(outcome.output, "disagree"), 1) << outcome.output;
}

TEST(Program, HelpUnderMpirunIsPrintedOnce) {
  const Outcome outcome = shell(kMpirun + "-n 3 " + kProgram + " --version");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(times(outcome.output, "shardora"), 1) << outcome.output;
}

TEST(Program, SeparateOneRankWorldsAreRefusedWith69) {
  const std::string eval = kProgram + " eval --model.path=m --data.eval=d 2>&1";
  const Outcome blind = shell("SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 " + eval);
  EXPECT_EQ(blind.status, 69);
  EXPECT_THAT(blind.output, AllOf(HasSubstr("srun --mpi=pmix"), Not(HasSubstr("PMIX ERROR"))));
  const Outcome apart = shell("PMI_SIZE=2 " + eval);
  EXPECT_EQ(apart.status, 69);
  EXPECT_THAT(apart.output, HasSubstr("the launcher started 2 ranks, but MPI has 1"));
}

TEST(Program, ProfilerRangesThatAreNotBuiltInAreRefusedWith69BeforeAnythingIsRead) {
  if (SHARDORA_WITH_CUDA) GTEST_SKIP() << "this program has them";
  const Outcome outcome = shell(kMpirun + "-n 2 " + kProgram +
                                " train --model.path=m --data.train=d --output.dir=o --train.steps=1 "
                                "--train.profile_ranges=true 2>&1");
  EXPECT_EQ(outcome.status, 69);
  EXPECT_EQ(times(outcome.output, "train.profile_ranges = true: found"), 1) << outcome.output;
}

TEST(Program, InspectRefusesSeveralRanks) {
  const Outcome outcome = shell(kMpirun + "-n 2 " + kProgram + " inspect --model.path=m 2>&1");
  EXPECT_EQ(outcome.status, 64);
  EXPECT_EQ(times(outcome.output, "one rank"), 1) << outcome.output;
}

TEST(Program, ATerminalIsSparedTheLineForScriptsBelowAReport) {
  if (shell("script -qec true /dev/null </dev/null").status != 0) {
    GTEST_SKIP() << "script, of util-linux, is missing, or this system has no pseudo-terminals";
  }
  for (const std::string words : {"plan --plan.shape=8B --plan.device=h100",
                                  "inspect --model.path=" SHARDORA_SOURCE_DIR "/tests/parity/golden/models/qwen2"}) {
    std::string command = kProgram;
    command += " " + words + " 2>/dev/null";
    const Outcome script = shell(command);
    const Outcome terminal = shell("script -qec '" + command + "' /dev/null </dev/null");
    EXPECT_EQ(script.status, 0) << words;
    EXPECT_EQ(terminal.status, 0) << words;
    EXPECT_THAT(script.output, HasSubstr("\n{\"command\":")) << words;
    EXPECT_THAT(terminal.output, AllOf(HasSubstr("param"), Not(HasSubstr("{\"command\":")))) << words;
  }
}

const std::string kGolden = SHARDORA_SOURCE_DIR "/tests/parity/golden";
const std::string kTrain = kProgram + " train --model.path=" + kGolden + "/models/qwen2 --data.train=" + kGolden +
                           "/data/101-train.safetensors --train.global_batch=6 --adapter.rank=2 --parallel.threads=1 ";

TEST(Program, LosesLinesThatCannotBeWrittenAndGoesOn) {
  const TemporaryFolder folder;
  for (const std::string streams : {">/dev/null 2>/dev/full", "2>&1 >/dev/null | true", ">/dev/null 2>&-",
                                    ">/dev/full 2>&1", ">&- 2>/dev/null", "<&- >&- 2>&-"}) {
    const std::string run = folder / "run";
    std::filesystem::remove_all(run);
    shell(kTrain + "--train.steps=30 --output.dir=" + run + " " + streams);  // the status of a pipe is its reader's
    EXPECT_THAT(shell("cat " + run + "/exit.json").output, AllOf(HasSubstr("\"status\": 0"), HasSubstr("\"step\": 30")))
        << streams;
    EXPECT_EQ(shell("wc -l < " + run + "/metrics.jsonl").output, "30\n") << streams;
    EXPECT_EQ(shell("grep -c . " + run + "/result.json").output, "1\n") << streams;
  }
  EXPECT_EQ(shell(kProgram + " --help >/dev/full").status, 0);
  EXPECT_EQ(shell(kProgram + " train --adapter.rnk=3 2>/dev/full").status, 64);
  EXPECT_EQ(shell(kProgram + " train --adapter.rnk=3 2>&-").status, 64);
}

TEST(Program, EndsWith74WhereItsWholeProductCannotBeWritten) {
  const std::string data = kGolden + "/data/101-train.safetensors";
  std::string ten = data;
  for (int i = 0; i < 9; ++i) ten += "," + data;
  for (const std::string& words :
       {std::string("plan --plan.shape=8B --plan.device=h100"), "inspect --data.train=" + data,
        "inspect --data.train=" + ten}) {  // the last one fills more than a buffer
    for (const char* const stream : {" 2>&1 >/dev/full", " 2>&1 >&-"}) {
      const Outcome outcome = shell(kProgram + " " + words + stream);
      EXPECT_EQ(outcome.status, 74) << outcome.output;
      EXPECT_THAT(outcome.output, HasSubstr("standard output"));
    }
  }
}

TEST(Program, AHangUpIsAStopUnlessItIsIgnored) {
  const TemporaryFolder folder;
  const auto hang_up = [&](const std::string& name, const std::string& before, const std::string& steps) {
    const std::string run = folder / name;
    return shell("(" + before + " exec " + kTrain + "--train.steps=" + steps + " --output.dir=" + run +
                 " >/dev/null 2>&1) & while kill -0 $! && [ ! -s " + run +
                 "/metrics.jsonl ]; do sleep 0.02; done; kill -HUP $!; wait $!");
  };
  EXPECT_EQ(hang_up("asked", "", "100000").status, 75);
  EXPECT_EQ(hang_up("nohup", "trap '' HUP;", "1500").status, 0);
}

TEST(Program, ALauncherThatLendsItATerminalStillGetsTheLineForScripts) {
  EXPECT_THAT(shell(kMpirun + "-n 1 " + kProgram + " plan --plan.shape=8B --plan.device=h100 2>/dev/null").output,
              HasSubstr("{\"command\":\"plan\""));
  EXPECT_TRUE(is_result_wanted(Above::kReport, true, true));
  EXPECT_TRUE(is_result_wanted(Above::kNothing, true, false));
  EXPECT_FALSE(is_result_wanted(Above::kReport, true, false));
}

}  // namespace
}  // namespace shardora
