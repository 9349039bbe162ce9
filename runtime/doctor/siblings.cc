#include "runtime/doctor/siblings.h"

#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/comm/launcher.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

struct ProcessState {
  char letter = '?';
  std::int64_t parent = 0;
};

// After the name, which may hold spaces and brackets, in /proc/<process>/stat.
ProcessState state_of(std::int64_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string line;
  std::getline(file, line);
  ProcessState state;
  const std::size_t end = line.rfind(')');
  if (end == std::string::npos) return state;
  std::istringstream rest(line.substr(end + 1));
  rest >> state.letter >> state.parent;
  return state;
}

// What its launcher said to it.
int rank_of(std::int64_t process) {
  std::ifstream file(fmt::format("/proc/{}/environ", process));
  std::vector<std::string> variables;
  for (std::string one; std::getline(file, one, '\0');) variables.push_back(one);
  return launched_rank([&](const char* name) -> const char* {
    const std::string start = std::string(name) + "=";
    for (const std::string& one : variables) {
      if (one.starts_with(start)) return one.c_str() + start.size();
    }
    return nullptr;
  });
}

}  // namespace

bool is_stopped(std::int64_t process) {
  const char letter = state_of(process).letter;
  return letter == 'T' || letter == 't';
}

std::vector<RankDoing> stopped_siblings() {
  std::vector<RankDoing> found;
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    std::int64_t process = 0;
    const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), process);
    if (error != std::errc() || stop != name.data() + name.size()) continue;
    if (state_of(process).parent != getppid() || !is_stopped(process)) continue;
    if (fs::read_symlink(entry.path() / "exe", ignored) != program) continue;
    found.push_back({.rank = rank_of(process), .process = process, .test = "an unknown place", .stopped = true});
  }
  return found;
}

}  // namespace shardora
