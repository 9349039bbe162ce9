// run.lock: one run at a time in an output folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace shardora {

// Who holds a folder: the content of run.lock, and what exit.json and temporary names say of this start.
struct Holder {
  std::string host, boot_id, job;  // job: SLURM_JOB_ID, or "none"
  std::int64_t process = 0;
  std::int64_t process_start = 0;  // clock ticks after boot: tells a process from a later one of the same number
  std::int64_t restart_count = 0;
  std::int64_t started = 0;  // seconds since 1970
};
Holder this_process();
// What a run.lock says; empty where it says nothing, or something else.
std::optional<Holder> parse_holder(std::string_view text);
std::string describe(const Holder& holder);  // "process 12 on host n1 (job 34), since 2026-01-31 12:00:00 UTC"

// An exclusive flock on the file, freed by the kernel when its holder ends, however it ends. Where the file system
// knows no flock, the content decides: free if the holder is of this host and gone, or of this job with a lower restart
// count.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& path);  // throws Error(kOutputBusy)
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

// The rule for file systems without flock: whether `holder` can still be at work, as seen by `me`.
bool may_still_run(const Holder& holder, const Holder& me);

}  // namespace shardora
