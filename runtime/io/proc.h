// What the kernel says of this host and its processes, in small files and names. Nothing here throws: what cannot be
// read is empty.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace shardora {

std::string host_name();  // "(unnamed)" where it has none
std::string first_line(const std::filesystem::path& path);

// Fields 3 and 22 of /proc/<process>/stat (proc(5)).
struct ProcessStat {
  char state = '?';         // 'T', 't': stopped, by a signal or a debugger
  std::int64_t start = -1;  // clock ticks after boot; -1: there is no such process
};
ProcessStat process_stat(std::int64_t process);

}  // namespace shardora
