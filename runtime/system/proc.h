// This host and its processes, as the operating system reports them. Nothing here throws: what cannot be read is empty.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace shardora {

std::int64_t peak_memory_bytes();              // of this process (VmHWM)
std::int64_t resident_memory_bytes();          // now (VmRSS)
double monotonic_seconds();                    // a clock that is never set back
std::vector<int> affinity(pid_t process = 0);  // cores that it may use, ascending; 0: this one

std::string host_name();  // "(unnamed)" where it has none
std::string first_line(const std::filesystem::path& path);

// Fields 3 and 22 of /proc/<process>/stat (proc(5)).
struct ProcessStat {
  char state = '?';         // 'T', 't': stopped, by a signal or a debugger
  std::int64_t start = -1;  // clock ticks after boot; -1: there is no such process
};
ProcessStat process_stat(std::int64_t process);

}  // namespace shardora
