// How much memory may still be taken, by all that ask for it: the host's free memory, its control groups, and the
// limits of the process itself (ulimit -v).
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

namespace shardora {

struct MemoryLimit {
  std::int64_t free_bytes = std::numeric_limits<std::int64_t>::max();
  std::string name;  // where it comes from; empty: there is none
};

struct HostMemory {
  MemoryLimit shared;   // of all processes of this host together: what the tightest of them leaves
  MemoryLimit process;  // of each process alone
};

// Where the kernel reports it; tests use another root.
struct HostMemoryFiles {
  std::filesystem::path meminfo = "/proc/meminfo", own_groups = "/proc/self/cgroup", groups = "/sys/fs/cgroup";
};

// What cannot be read limits nothing. File pages that the kernel would give up count as free.
HostMemory read_host_memory(const HostMemoryFiles& files = {});

}  // namespace shardora
