// Checkpoints: committed whole or not at all; any damage found by name; never fewer left than promised.
#include "runtime/run/checkpoints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class CheckpointsTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path dir_ = folder_ / "checkpoints";
  Checkpoints checkpoints_{folder_.path(), 2};
  std::vector<std::string> warnings_;

  void save(std::int64_t step, const std::string& content = "state") {
    checkpoints_.save({step, "4 ranks, tensor 2", R"({"seed":1,"learning_rate":0.0002})", 3, "avx2"},
                      [&](const fs::path& to) { fill(to, content); });
  }
  static void fill(const fs::path& to, const std::string& content) {
    fs::create_directory(to / "adapter");
    put_text(to / "adapter/adapter_model.safetensors", "adapter of " + content);
    put_text(to / "adapter/adapter_config.json", "{}");
    put_text(to / "state.safetensors", content);
    put_text(to / "empty", "");
  }
  std::int64_t newest_step() {
    warnings_.clear();
    const auto found = checkpoints_.newest([&](const std::string& text) { warnings_.push_back(text); });
    return found ? found->manifest.step : -1;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator(dir_)) result.push_back(entry.path().filename().string());
    return result;
  }
};

TEST_F(CheckpointsTest, WhatIsSavedIsFoundWithItsManifest) {
  EXPECT_EQ(newest_step(), -1);
  save(9);
  save(10);  // newer than 9 by number, not by name
  const auto found = checkpoints_.newest([](const std::string& text) { ADD_FAILURE() << text; });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, dir_ / "step-10");
  EXPECT_EQ(found->manifest.step, 10);
  EXPECT_EQ(found->manifest.world, "4 ranks, tensor 2");
  EXPECT_EQ(found->manifest.configuration_json, R"({"seed":1,"learning_rate":0.0002})");
  EXPECT_EQ(found->manifest.threads, 3);
  EXPECT_EQ(found->manifest.instruction_set, "avx2");
  EXPECT_EQ(text_of(found->path / "adapter/adapter_model.safetensors"), "adapter of state");
  EXPECT_THAT(names(), UnorderedElementsAre("step-9", "step-10"));
}

TEST_F(CheckpointsTest, AFlippedBitInAnyByteOfAnyFileIsFound) {
  save(1);
  for (const auto& entry : fs::recursive_directory_iterator(dir_ / "step-1")) {
    if (!entry.is_regular_file()) continue;
    const std::string whole = text_of(entry.path());
    for (std::size_t byte = 0; byte < whole.size(); ++byte) {
      std::string damaged = whole;
      damaged[byte] = static_cast<char>(damaged[byte] ^ (1 << (byte % 8)));
      put_text(entry.path(), damaged);
      expect_error(ExitStatus::kBadInput, {entry.path().filename().string()},
                   [&] { Checkpoints::open(dir_ / "step-1"); });
    }
    put_text(entry.path(), whole);
  }
  EXPECT_NO_THROW(Checkpoints::open(dir_ / "step-1"));
}

TEST_F(CheckpointsTest, EveryCutOfEveryFileIsFound) {
  save(1);
  for (const auto& entry : fs::recursive_directory_iterator(dir_ / "step-1")) {
    if (!entry.is_regular_file()) continue;
    const std::string whole = text_of(entry.path());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      put_text(entry.path(), whole.substr(0, size));
      expect_error(ExitStatus::kBadInput, {entry.path().filename().string()},
                   [&] { Checkpoints::open(dir_ / "step-1"); });
    }
    put_text(entry.path(), whole + "x");
    expect_error(ExitStatus::kBadInput, {entry.path().filename().string()},
                 [&] { Checkpoints::open(dir_ / "step-1"); });
    put_text(entry.path(), whole);
  }
}

TEST_F(CheckpointsTest, ADamagedOneIsPassedOverWithAWarningThatNamesFileAndFault) {
  save(1);
  save(2);
  put_text(dir_ / "step-2/state.safetensors", "stats");
  EXPECT_EQ(newest_step(), 1);
  ASSERT_EQ(warnings_.size(), 1U);
  EXPECT_THAT(warnings_[0], HasSubstr("step-2 is damaged: state.safetensors has checksum"));
  put_text(dir_ / "step-2/state.safetensors", "longer state");
  EXPECT_EQ(newest_step(), 1);
  EXPECT_THAT(warnings_[0], HasSubstr("state.safetensors has 12 bytes, its manifest says 5"));
  fs::remove(dir_ / "step-2/state.safetensors");
  EXPECT_EQ(newest_step(), 1);
  EXPECT_THAT(warnings_[0], HasSubstr("state.safetensors is missing"));
  put_text(dir_ / "step-2/state.safetensors", "state");
  EXPECT_EQ(newest_step(), 2);
  EXPECT_THAT(warnings_, IsEmpty());
  put_text(dir_ / "step-2/adapter/stray", "x");
  EXPECT_EQ(newest_step(), 1);
  EXPECT_THAT(warnings_[0], HasSubstr("adapter/stray is not in its manifest"));
  fs::remove(dir_ / "step-2/adapter/stray");
  fs::remove(dir_ / "step-2/manifest.json");
  EXPECT_EQ(newest_step(), 1);
  EXPECT_THAT(warnings_[0], HasSubstr("step-2/manifest.json"));
}

TEST_F(CheckpointsTest, ALinkInPlaceOfAFileIsDamage) {
  save(1);
  put_text(folder_ / "elsewhere", "state");
  fs::remove(dir_ / "step-1/state.safetensors");
  fs::create_symlink(folder_ / "elsewhere", dir_ / "step-1/state.safetensors");
  expect_error(ExitStatus::kBadInput, {"state.safetensors", "neither a file nor a folder"},
               [&] { Checkpoints::open(dir_ / "step-1"); });
}

TEST_F(CheckpointsTest, ARenamedCheckpointIsNotTakenForAnotherStep) {
  save(1);
  fs::rename(dir_ / "step-1", dir_ / "step-5");
  expect_error(ExitStatus::kBadInput, {"manifest.json is of step 1"}, [&] { Checkpoints::open(dir_ / "step-5"); });
  fs::rename(dir_ / "step-5", folder_ / "mine");  // a name that claims no step
  EXPECT_EQ(Checkpoints::open(folder_ / "mine").manifest.step, 1);
}

TEST_F(CheckpointsTest, OnlyFoldersNamedExactlyAsAStepAreLookedAt) {
  save(1);
  for (const char* name : {"step-02", "step-3.tmp-7", "step-4.bad-7", "step-", "step-x", "other"}) {
    fs::copy(dir_ / "step-1", dir_ / name, fs::copy_options::recursive);
  }
  put_text(dir_ / "step-9", "a file");
  EXPECT_EQ(newest_step(), 1);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(CheckpointsTest, OpeningWhatIsNotThereIsRefused) {
  expect_error(ExitStatus::kBadInput, {"step-77"}, [&] { Checkpoints::open(dir_ / "step-77"); });
}

TEST_F(CheckpointsTest, AnAttemptThatFailsLeavesNothingAndPassesItsErrorOn) {
  save(1);
  const auto failing = [](const fs::path& to) {
    fill(to, "half");
    throw std::runtime_error("disk gone");
  };
  EXPECT_THROW(checkpoints_.save({2, "", "", 1, ""}, failing), std::runtime_error);
  EXPECT_THAT(names(), ElementsAre("step-1"));
  EXPECT_EQ(newest_step(), 1);
}

TEST_F(CheckpointsTest, WhatDoesNotReadBackIsNoCheckpoint) {
  const auto vanishing = [&](const fs::path& to) {
    fill(to, "state");
    fs::create_symlink(folder_ / "elsewhere", to / "link");
  };
  expect_error(ExitStatus::kIo, {"step-2.tmp-", "does not read back"}, [&] {
    checkpoints_.save({2, "", "", 1, ""}, vanishing);
  });
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(CheckpointsTest, AKillWhileWritingLeavesTheLastOneAndTheNextStartCleansUp) {
  save(1);
  const pid_t child = fork();
  if (child == 0) {
    checkpoints_.save({2, "", "", 1, ""}, [](const fs::path& to) {
      fill(to, "half");
      kill(getpid(), SIGKILL);
    });
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  EXPECT_EQ(names().size(), 2U);
  EXPECT_EQ(newest_step(), 1);
  EXPECT_THAT(warnings_, IsEmpty());
  fs::create_directory(dir_ / "notes.tmp-1");  // the user's own
  checkpoints_.remove_unfinished();
  EXPECT_THAT(names(), UnorderedElementsAre("step-1", "notes.tmp-1"));
}

TEST_F(CheckpointsTest, WhereNoneIsWholeThatIsSaid) {
  save(1);
  put_text(dir_ / "step-1/state.safetensors", "stats");
  EXPECT_EQ(newest_step(), -1);
  ASSERT_EQ(warnings_.size(), 2U);
  EXPECT_THAT(warnings_[1], HasSubstr("none of the checkpoints"));
}

TEST_F(CheckpointsTest, AnotherHostMustSeeWhatWasChosen) {
  save(1);
  const std::string chosen = Checkpoints::open(dir_ / "step-1").manifest_checksum;
  EXPECT_NO_THROW(Checkpoints::require_seen(dir_ / "step-1", chosen));
  put_text(dir_ / "step-1/empty", "x");  // a file of another size
  expect_error(ExitStatus::kIo, {"step-1", "sees other content"},
               [&] { Checkpoints::require_seen(dir_ / "step-1", chosen); });
  save(1, "another state");
  expect_error(ExitStatus::kIo, {"step-1", "sees other content"},
               [&] { Checkpoints::require_seen(dir_ / "step-1", chosen); });
}

TEST_F(CheckpointsTest, ARunsFolderThatWasRemovedDoesNotComeBack) {
  save(1);
  fs::remove_all(folder_.path());
  expect_error(ExitStatus::kIo, {"checkpoints", "No such file"}, [&] { save(2); });
  EXPECT_FALSE(fs::exists(folder_.path()));
}

TEST_F(CheckpointsTest, TheLeftoversOfAnEarlierStartOfTheSameJobAreNoObstacle) {
  setenv("SLURM_JOB_ID", "12", 1);
  fs::create_directories(dir_ / "step-2.tmp-12/adapter");
  put_text(dir_ / "step-2.tmp-12/stray", "x");
  save(2);
  unsetenv("SLURM_JOB_ID");
  EXPECT_EQ(newest_step(), 2);
  EXPECT_FALSE(fs::exists(dir_ / "step-2/stray"));
  EXPECT_THAT(names(), ElementsAre("step-2"));
}

TEST_F(CheckpointsTest, ABadOneInTheWayIsSetAside) {
  setenv("SLURM_JOB_ID", "12", 1);
  for (int time = 0; time < 2; ++time) {
    save(2, "state");
    put_text(dir_ / "step-2/state.safetensors", "stats");
  }
  save(2);
  unsetenv("SLURM_JOB_ID");
  EXPECT_EQ(newest_step(), 2);
  EXPECT_THAT(names(), UnorderedElementsAre("step-2", "step-2.bad-12", "step-2.bad-12-2"));
  EXPECT_EQ(text_of(dir_ / "step-2.bad-12/state.safetensors"), "stats");
}

TEST_F(CheckpointsTest, SavingTheSameAgainKeepsTheFirst) {
  save(2);
  const auto before = fs::last_write_time(dir_ / "step-2/manifest.json");
  save(2);
  EXPECT_EQ(fs::last_write_time(dir_ / "step-2/manifest.json"), before);
  EXPECT_THAT(names(), ElementsAre("step-2"));
  save(2, "other state");
  EXPECT_EQ(text_of(dir_ / "step-2/state.safetensors"), "other state");
  EXPECT_EQ(names().size(), 2U);
}

TEST_F(CheckpointsTest, PruneKeepsTheNewestAndThePinned) {
  for (std::int64_t step = 1; step <= 12; ++step) save(step);
  checkpoints_.prune({dir_ / "step-3", folder_.path() / "./checkpoints/step-5"});
  EXPECT_THAT(names(), UnorderedElementsAre("step-3", "step-5", "step-11", "step-12"));
}

TEST_F(CheckpointsTest, AtLeastTwoAreKept) {
  Checkpoints one(folder_.path(), 0);
  for (std::int64_t step = 1; step <= 3; ++step) save(step);
  one.prune({});
  EXPECT_THAT(names(), UnorderedElementsAre("step-2", "step-3"));
  one.prune({});
  EXPECT_THAT(names(), UnorderedElementsAre("step-2", "step-3"));
}

TEST_F(CheckpointsTest, ADamagedOneDoesNotCountAsKept) {
  for (std::int64_t step = 1; step <= 4; ++step) save(step);
  put_text(dir_ / "step-3/state.safetensors", "cut");
  checkpoints_.prune({});
  EXPECT_THAT(names(), UnorderedElementsAre("step-2", "step-3", "step-4"));
}

TEST_F(CheckpointsTest, PruneOfNothingDoesNothing) { EXPECT_NO_THROW(checkpoints_.prune({})); }

}  // namespace
}  // namespace shardora
