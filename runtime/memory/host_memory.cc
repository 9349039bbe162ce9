#include "runtime/memory/host_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>

namespace shardora {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (!(file >> value)) return std::nullopt;  // no file, or "max"
  return value;
}

// The number after `key` in lines of "key number".
std::int64_t value_of(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    std::int64_t value = 0;
    if (word == key && file >> value) return value;
  }
  return 0;
}

void tighten(MemoryLimit& limit, std::int64_t free_bytes, const std::string& name) {
  if (free_bytes < limit.free_bytes) limit = {std::max<std::int64_t>(free_bytes, 0), name};
}

// The two generations of control groups name the same things differently.
struct GroupNames {
  const char *limit, *used, *inactive, *active;
};
constexpr GroupNames kSecond{"memory.max", "memory.current", "inactive_file", "active_file"};
constexpr GroupNames kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                            "total_active_file"};

void tighten_to_group(MemoryLimit& limit, const fs::path& group, const GroupNames& names) {
  const std::optional<std::int64_t> most = number_in(group / names.limit), used = number_in(group / names.used);
  if (!most || !used) return;
  const fs::path statistics = group / "memory.stat";
  const std::int64_t given_up = value_of(statistics, names.inactive) + value_of(statistics, names.active);
  tighten(limit, *most - *used + std::min(given_up, *used), (group / names.limit).string());
}

// A group is bound by every group above it. Inside a container its own path may not be mounted, but the root is.
void tighten_to_groups_above(MemoryLimit& limit, const fs::path& root, const fs::path& path, const GroupNames& names) {
  for (fs::path group = path.relative_path(); !group.empty(); group = group.parent_path()) {
    tighten_to_group(limit, root / group, names);
  }
  tighten_to_group(limit, root, names);
}

void tighten_to_own_groups(MemoryLimit& limit, const HostMemoryFiles& files) {
  std::ifstream own(files.own_groups);  // lines of "number:controllers:path"
  for (std::string line; std::getline(own, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path path = line.substr(second + 1);
    if (controllers == ",,") tighten_to_groups_above(limit, files.groups, path, kSecond);
    if (controllers.find(",memory,") != std::string::npos) {
      tighten_to_groups_above(limit, files.groups / "memory", path, kFirst);
    }
  }
}

MemoryLimit own_limit() {
  MemoryLimit limit;
  rlimit address_space{};
  if (getrlimit(RLIMIT_AS, &address_space) != 0 || address_space.rlim_cur == RLIM_INFINITY) return limit;
  const std::int64_t mapped = number_in("/proc/self/statm").value_or(0) * sysconf(_SC_PAGESIZE);
  tighten(limit, static_cast<std::int64_t>(address_space.rlim_cur) - mapped, "ulimit -v");
  return limit;
}

}  // namespace

HostMemory read_host_memory(const HostMemoryFiles& files) {
  HostMemory memory{.shared = {}, .process = own_limit()};
  const std::int64_t available = value_of(files.meminfo, "MemAvailable:");
  if (available > 0) tighten(memory.shared, available * 1024, "MemAvailable");
  tighten_to_own_groups(memory.shared, files);
  return memory;
}

}  // namespace shardora
