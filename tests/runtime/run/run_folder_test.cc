// Who gets an output folder: an empty one, or one of ours that nobody holds; and what is written of a run's end.
#include "runtime/run/run_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

class RunFolderTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path dir_ = folder_ / "run";

  void expect_refused(const std::vector<std::string>& words, bool overwrite = false) {
    expect_error(ExitStatus::kOutputBusy, words, [&] { RunFolder(dir_, overwrite); });
  }
};

TEST_F(RunFolderTest, MakesAFolderAndTakesAnEmptyOne) {
  { EXPECT_EQ(RunFolder(dir_, false).dir(), dir_); }
  EXPECT_TRUE(fs::exists(dir_ / "run.lock"));
  fs::create_directory(folder_ / "empty");
  EXPECT_NO_THROW(RunFolder(folder_ / "empty", false));
}

TEST_F(RunFolderTest, TakesAFolderThatAnEarlierRunOrTheLaunchScriptsHaveLeft) {
  { RunFolder(dir_, false); }
  write_exit(dir_, ExitStatus::kDone, "done", 3);
  put_text(dir_ / "notes.txt", "the user's own");
  EXPECT_NO_THROW(RunFolder(dir_, false));
  fs::create_directories(folder_ / "launched/logs");
  put_text(folder_ / "launched/attempts.json", "{}");
  EXPECT_NO_THROW(RunFolder(folder_ / "launched", false));
  fs::create_directory(folder_ / "copied");
  put_text(folder_ / "copied/config.resolved.cfg", "");
  put_text(folder_ / "copied/metrics.jsonl", "");
  EXPECT_NO_THROW(RunFolder(folder_ / "copied", false));
}

TEST_F(RunFolderTest, RefusesAFolderThatIsNotOursAndLeavesItAsItWas) {
  for (const bool overwrite : {false, true}) {
    fs::create_directories(dir_ / "adapter");
    put_text(dir_ / "adapter/thesis.txt", "precious");
    expect_refused({"is not empty", "adapter", "choose another"}, overwrite);
    EXPECT_EQ(text_of(dir_ / "adapter/thesis.txt"), "precious");
    EXPECT_FALSE(fs::exists(dir_ / "run.lock"));
  }
}

TEST_F(RunFolderTest, RefusesAFileInPlaceOfTheFolder) {
  put_text(dir_, "a file");
  expect_refused({"run", "is a file, expected a folder"});
}

TEST_F(RunFolderTest, RefusesAFolderWhoseParentIsMissing) {
  dir_ = folder_ / "none/run";
  expect_refused({"none/run", "No such file or directory", "parent"});
}

TEST_F(RunFolderTest, RefusesALinkInPlaceOfTheLock) {
  fs::create_directory(dir_);
  put_text(folder_ / "elsewhere", "precious");
  fs::create_symlink(folder_ / "elsewhere", dir_ / "run.lock");
  expect_refused({"cannot write", "run.lock"});
  EXPECT_EQ(text_of(folder_ / "elsewhere"), "precious");
}

// Runs in a child, which ends with the status that a RunFolder is refused with; root is dropped first, since no folder
// is read-only for it.
int status_of_another_user(const fs::path& dir) {
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(1);
    try {
      const RunFolder folder(dir, false);
      _exit(0);
    } catch (const Error& error) {
      const bool says_why = std::string(error.what()).find("Permission denied") != std::string::npos;
      _exit(says_why ? static_cast<int>(error.status()) : 2);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(RunFolderTest, RefusesAReadOnlyFolder) {
  chmod(folder_.path().c_str(), 0755);
  fs::create_directory(dir_);
  chmod(dir_.c_str(), 0555);
  EXPECT_EQ(status_of_another_user(dir_), 73);
  EXPECT_EQ(status_of_another_user(dir_ / "new"), 73);  // in a folder that it may not write
}

TEST_F(RunFolderTest, RefusesAReadOnlyFolderThatHasAWritableLock) {
  chmod(folder_.path().c_str(), 0755);
  fs::create_directory(dir_);
  put_text(dir_ / "run.lock", "");
  chmod((dir_ / "run.lock").c_str(), 0666);
  chmod(dir_.c_str(), 0555);
  EXPECT_EQ(status_of_another_user(dir_), 73);
}

TEST_F(RunFolderTest, ASecondRunIsRefusedAndToldTheHolder) {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  const RunFolder first(dir_, false);
  for (const bool overwrite : {false, true}) {
    put_text(dir_ / "metrics.jsonl", "kept");
    expect_refused({"another run", "process " + std::to_string(getpid()), host.data(), "since 20"}, overwrite);
    EXPECT_EQ(text_of(dir_ / "metrics.jsonl"), "kept");
  }
}

TEST_F(RunFolderTest, ARunThatHasEndedFreesTheFolder) {
  { const RunFolder first(dir_, false); }
  EXPECT_NO_THROW(RunFolder(dir_, false));
}

TEST_F(RunFolderTest, AKilledHolderFreesTheFolderAtOnce) {
  std::array<int, 2> ready{};
  ASSERT_EQ(pipe(ready.data()), 0);
  const pid_t holder = fork();
  if (holder == 0) {
    const RunFolder folder(dir_, false);
    const char byte = 1;
    if (write(ready[1], &byte, 1) == 1) pause();
    _exit(1);
  }
  char byte = 0;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  expect_refused({"process " + std::to_string(holder)});
  kill(holder, SIGKILL);
  waitpid(holder, nullptr, 0);
  EXPECT_NO_THROW(RunFolder(dir_, false));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(RunFolderTest, OverwriteRemovesWhatRunsLeaveAndNothingElse) {
  { const RunFolder first(dir_, false); }
  for (const char* name : {"checkpoints/step-3", "adapter", "model", "logs"}) fs::create_directories(dir_ / name);
  for (const char* name :
       {"config.resolved.cfg", "metrics.jsonl", "exit.json", "report.html", "attempts.json", "notes.txt"}) {
    put_text(dir_ / name, "x");
  }
  EXPECT_THAT(RunFolder(dir_, false).removed(), IsEmpty());
  EXPECT_TRUE(fs::exists(dir_ / "checkpoints/step-3"));
  EXPECT_THAT(RunFolder(dir_, true).removed(), ElementsAre("checkpoints", "adapter", "model", "metrics.jsonl", "logs",
                                                           "exit.json", "report.html", "config.resolved.cfg"));
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(dir_)) left.push_back(entry.path().filename().string());
  EXPECT_THAT(left, testing::UnorderedElementsAre("run.lock", "attempts.json", "notes.txt"));
}

TEST_F(RunFolderTest, TemporaryFilesOfDeadStartsGoAndNoOthers) {
  { const RunFolder first(dir_, false); }
  for (const char* name : {"adapter.tmp", "model.tmp-17"}) fs::create_directories(dir_ / name / "x");
  for (const char* name : {"result.json.tmp-0f", "metrics.jsonl.tmp-1", "notes.tmp", "adapter.tmpl"}) {
    put_text(dir_ / name, "x");
  }
  const RunFolder second(dir_, false);
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(dir_)) left.push_back(entry.path().filename().string());
  EXPECT_THAT(left, testing::UnorderedElementsAre("run.lock", "notes.tmp", "adapter.tmpl"));
}

TEST_F(RunFolderTest, OverwriteRemovesALinkNotWhatItLeadsTo) {
  { const RunFolder first(dir_, false); }
  fs::create_directory(folder_ / "elsewhere");
  put_text(folder_ / "elsewhere/precious", "x");
  fs::create_directory_symlink(folder_ / "elsewhere", dir_ / "adapter");
  EXPECT_THAT(RunFolder(dir_, true).removed(), ElementsAre("adapter"));
  EXPECT_TRUE(fs::exists(folder_ / "elsewhere/precious"));
}

TEST_F(RunFolderTest, ExitJsonSaysWhyAndWhenAndReplacesAnEarlierOne) {
  setenv("SLURM_JOB_ID", "4711", 1);
  setenv("SLURM_RESTART_COUNT", "2", 1);
  const RunFolder folder(dir_, false);
  write_exit(dir_, ExitStatus::kDone, "done", 1);
  write_exit(dir_, ExitStatus::kStoppedEarly, "signal, \"quoted\" \xff", 17);
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_RESTART_COUNT");
  const auto content = nlohmann::json::parse(text_of(dir_ / "exit.json"));
  EXPECT_EQ(content.at("status"), 75);
  EXPECT_EQ(content.at("reason"), "signal, \"quoted\" \xef\xbf\xbd");
  EXPECT_EQ(content.at("step"), 17);
  EXPECT_EQ(content.at("job"), "4711");
  EXPECT_EQ(content.at("restart_count"), 2);
  EXPECT_NEAR(content.at("time").get<double>(), static_cast<double>(std::time(nullptr)), 5);
  EXPECT_EQ(content.size(), 6U);
}

// Without flock the content of run.lock decides.
TEST(MayStillRun, AProcessOfThisHostIsJudgedByNumberStartAndBoot) {
  const Holder me = this_process();
  EXPECT_TRUE(may_still_run(me, me));
  Holder other = me;
  other.process_start += 1;  // the number was given to another process
  EXPECT_FALSE(may_still_run(other, me));
  other = me;
  other.boot_id = "before the host restarted";
  EXPECT_FALSE(may_still_run(other, me));
  other = me;
  other.process = 0x3fffffff;
  EXPECT_FALSE(may_still_run(other, me));
}

TEST(MayStillRun, AnotherHostsProcessMayUnlessItIsAnEarlierStartOfThisJob) {
  Holder me = this_process();
  Holder other = me;
  other.host = "elsewhere";
  EXPECT_TRUE(may_still_run(other, me));
  other.job = me.job = "12";
  EXPECT_TRUE(may_still_run(other, me));
  me.restart_count = 1;
  EXPECT_FALSE(may_still_run(other, me));
  other.job = "11";
  EXPECT_TRUE(may_still_run(other, me));
}

}  // namespace
}  // namespace shardora
