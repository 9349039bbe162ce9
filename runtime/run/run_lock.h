// run.lock: one run at a time in an output folder.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace shardora {

// Who holds an output folder: the content of run.lock, and what exit.json and temporary names say of this start.
struct Holder {
  std::string host, boot_id, job;  // job: SLURM_JOB_ID, or "none"
  std::int64_t process = 0;
  std::int64_t process_start = 0;  // clock ticks after boot: tells a process from a later one of the same number
  std::int64_t restart_count = 0;
  std::int64_t started = 0;    // seconds since 1970
  std::int64_t heartbeat = 0;  // counts up while it lives: its change shows life, not its value
};
Holder this_process();

std::string to_text(const Holder& holder);
// The content of a run.lock; empty where it has none, or something else.
std::optional<Holder> parse_holder(std::string_view text);
std::string describe(const Holder& holder);  // "process 12 on host n1 (job 34), since 2026-01-31 12:00:00 UTC"

// Of this job, which has been started again since: whatever is left of it has lost its rights.
bool is_earlier_start(const Holder& holder, const Holder& me);
// Whether `holder` can still be at work, by its name alone, as seen by `me`: what runs on another host is not to be
// seen from here.
bool may_still_run(const Holder& holder, const Holder& me);

// How often a holder changes its content, and how long a content must stand still until its holder counts as gone.
struct LockTimes {
  std::chrono::milliseconds beat{10'000}, patience{60'000};
};

// An exclusive flock on the file, freed by the kernel when its holder ends, however it ends; and the holder's name in
// it, with a heartbeat. The name and its beat decide where the kernel cannot: where the file system knows no flock, and
// where the lock of a host that is gone has not been freed by the server of files. Free is what is held by a process of
// this host that is gone, by an earlier start of this job, or by a name whose beat stands still, watched from here; a
// holder that lives after all finds out at its next require_held().
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& path, LockTimes times = {});  // throws Error(kOutputBusy)
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // Before anything is committed under this lock. Throws Error(kIo) where the file is gone, with or without its folder,
  // and Error(kOutputBusy) where another run has taken it.
  void require_held() const;

 private:
  void take();
  void outlast(bool flock_known);
  void replace_stale_lock_file();
  void write_name();
  void beat(const std::stop_token& stop);
  void require_same_file() const;
  [[noreturn]] void refuse_busy() const;

  std::filesystem::path path_;
  LockTimes times_;
  int descriptor_ = -1;
  Holder me_;
  mutable std::mutex mutex_;  // over what is in the file
  std::condition_variable_any wake_;
  std::jthread beating_;  // ends first
};

}  // namespace shardora
