// Who holds an output folder: the content of run.lock, and what exit.json and temporary names say of this start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shardora {

struct Holder {
  std::string host, boot_id, job;  // job: SLURM_JOB_ID, or "none"
  std::int64_t process = 0;
  std::int64_t process_start = 0;  // clock ticks after boot: tells a process from a later one of the same number
  std::int64_t restart_count = 0;
  std::int64_t started = 0;    // seconds since 1970
  std::int64_t heartbeat = 0;  // counts up while it lives: told by change, not by any clock
};
Holder this_process();

std::string to_text(const Holder& holder);
// What a run.lock says; empty where it says nothing, or something else.
std::optional<Holder> parse_holder(std::string_view text);
std::string describe(const Holder& holder);  // "process 12 on host n1 (job 34), since 2026-01-31 12:00:00 UTC"

// Of this job, which has been started again since: whatever is left of it has lost its rights.
bool is_earlier_start(const Holder& holder, const Holder& me);
// Whether `holder` can still be at work, by its name alone, as seen by `me`: what runs on another host is not to be
// seen from here.
bool may_still_run(const Holder& holder, const Holder& me);

}  // namespace shardora
