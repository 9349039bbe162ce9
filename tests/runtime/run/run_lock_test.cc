// Who gets the lock where the kernel cannot tell: another host's, a dead server's, a file system without flock.
#include "runtime/run/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "tests/support/expect_error.h"
#include "tests/support/failing_call.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr LockTimes kQuick{.beat = 20ms, .patience = 400ms};

class RunLockTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path path_ = folder_ / "run.lock";

  static Holder elsewhere() {
    Holder holder = this_process();
    holder.host = "elsewhere";
    return holder;
  }
  // Another process that holds the flock, with a name of another host in the file, whose heart may beat.
  pid_t hold(const Holder& name, bool beats) {
    put_text(path_, to_text(name));
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
      FILE* const file = std::fopen(path_.c_str(), "r+");
      if (file == nullptr || flock(fileno(file), LOCK_EX) != 0 || write(ready[1], "x", 1) != 1) _exit(1);
      Holder beating = name;
      while (true) {
        usleep(20'000);
        if (beats) ++beating.heartbeat;
        const std::string text = to_text(beating);
        if (pwrite(fileno(file), text.data(), text.size(), 0) < 0) _exit(1);
      }
    }
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
  }
  static void end(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
};

TEST_F(RunLockTest, TheHeartBeats) {
  const RunLock lock(path_, kQuick);
  const auto beats = [&] { return parse_holder(text_of(path_)).value_or(Holder{}).heartbeat; };
  const auto before = beats();
  for (int i = 0; i < 200 && beats() == before; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_GT(beats(), before);
  EXPECT_NO_THROW(lock.require_held());
}

TEST_F(RunLockTest, AnotherHostsBeatingHeartKeepsItAndItsNameIsSaid) {
  const pid_t holder = hold(elsewhere(), true);
  expect_error(ExitStatus::kOutputBusy, {"another run", "on host elsewhere"},
               [&] { const RunLock lock(path_, kQuick); });
  end(holder);
}

TEST_F(RunLockTest, AHeartThatStandsStillFreesALockThatNobodyFrees) {
  const pid_t holder = hold(elsewhere(), false);
  {
    const RunLock lock(path_, kQuick);
    EXPECT_NO_THROW(lock.require_held());
    EXPECT_EQ(parse_holder(text_of(path_)).value_or(Holder{}).process, getpid());
    EXPECT_EQ(status_in_child([&] { const RunLock second(path_, kQuick); }), 73);  // held in earnest
  }
  end(holder);
  EXPECT_NO_THROW(const RunLock lock(path_, kQuick));
}

TEST_F(RunLockTest, WhatAnEarlierStartOfThisJobHoldsIsFreeWhateverItsHeart) {
  Holder earlier = elsewhere();
  earlier.job = "12";
  const pid_t holder = hold(earlier, true);
  setenv("SLURM_JOB_ID", "12", 1);
  setenv("SLURM_RESTART_COUNT", "1", 1);
  EXPECT_NO_THROW(const RunLock lock(path_, kQuick));
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_RESTART_COUNT");
  end(holder);
}

TEST_F(RunLockTest, WithoutFlockTheNameAndItsHeartDecide) {
  const auto take_without_flock = [&] {
    fail_call(SYS_flock, EOPNOTSUPP);
    const RunLock lock(path_, kQuick);
  };
  EXPECT_EQ(status_in_child(take_without_flock), 0);
  EXPECT_EQ(text_of(path_), "");  // a clean end leaves no name
  {
    const RunLock lock(path_, kQuick);
    EXPECT_EQ(status_in_child(take_without_flock), 73);  // this process lives
  }
  put_text(path_, to_text(elsewhere()));
  EXPECT_EQ(status_in_child(take_without_flock), 0);  // and stands still
  const pid_t holder = hold(elsewhere(), true);
  EXPECT_EQ(status_in_child(take_without_flock), 73);
  end(holder);
}

TEST_F(RunLockTest, ARemovedOrTakenLockIsFoundOut) {
  const RunLock lock(path_, {.beat = 1h, .patience = 1h});
  const std::string name = text_of(path_);
  put_text(path_, to_text(elsewhere()));  // taken without flock
  expect_error(ExitStatus::kOutputBusy, {"another run", "on host elsewhere"}, [&] { lock.require_held(); });
  put_text(path_, name);
  EXPECT_NO_THROW(lock.require_held());
  fs::remove(path_);
  expect_error(ExitStatus::kIo, {"run.lock", "was removed", "nothing more is saved"}, [&] { lock.require_held(); });
  put_text(path_, to_text(elsewhere()));
  expect_error(ExitStatus::kOutputBusy, {"another run", "on host elsewhere"}, [&] { lock.require_held(); });
}

}  // namespace
}  // namespace shardora
