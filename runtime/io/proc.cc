#include "runtime/io/proc.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <fstream>
#include <sstream>

namespace shardora {

std::string host_name() {
  utsname system{};
  return uname(&system) == 0 ? system.nodename : "(unnamed)";
}

std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

ProcessStat process_stat(std::int64_t process) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", process));
  const std::size_t name_end = line.rfind(')');  // the name before it may hold spaces and brackets
  if (name_end == std::string::npos) return {};
  std::istringstream fields(line.substr(name_end + 1));
  ProcessStat stat;
  fields >> stat.state;
  std::string field;
  for (int i = 4; i < 22; ++i) fields >> field;
  if (!(fields >> stat.start)) stat.start = -1;
  return stat;
}

}  // namespace shardora
