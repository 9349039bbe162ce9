// What the system knows of this process: its memory's high-water mark, and a clock that never steps.
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>

#include "runtime/observe/metrics.h"

namespace shardora {

namespace {

std::int64_t status_bytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with(key)) continue;
    std::int64_t kibibytes = 0;
    std::istringstream(line.substr(key.size())) >> kibibytes;
    return kibibytes * 1024;
  }
  return 0;
}

}  // namespace

std::int64_t peak_memory_bytes() { return status_bytes("VmHWM:"); }

std::int64_t resident_memory_bytes() { return status_bytes("VmRSS:"); }

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace shardora
