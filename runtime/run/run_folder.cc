// Looks before it touches: what is in the folder decides first whether it is ours at all; the lock decides whether it
// is ours now; only then is anything written or removed.
#include "runtime/run/run_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

// What a run leaves behind. attempts.json is the launch scripts' count of starts and outlives all of them.
// Checkpoints and the result go first: a removal that is cut short must leave nothing to resume from, nor a run that
// looks finished.
constexpr std::array<std::string_view, 9> kRunEntries = {"checkpoints", "result.json",   "adapter",
                                                         "model",       "metrics.jsonl", "logs",
                                                         "exit.json",   "report.html",   "config.resolved.cfg"};
constexpr std::array<std::string_view, 3> kLaunchEntries = {"attempts.json", "exit.json", "logs"};

[[noreturn]] void refuse_folder(const fs::path& dir, const std::string& why) {
  refuse(ExitStatus::kOutputBusy, "output.dir {}: {}", printable(dir.string()), why);
}

void make_folder(const fs::path& dir) {
  if (mkdir(dir.c_str(), 0777) != 0 && errno != EEXIST) {
    const std::string reason = std::strerror(errno);
    refuse_folder(dir, fmt::format("cannot be made: {}; make its parent folder first, or choose another", reason));
  }
  std::error_code error;
  if (!fs::is_directory(dir, error)) {
    refuse_folder(dir, error ? error.message() : "is a file, expected a folder; choose another");
  }
  // The effective user's rights, as open() will use them.
  if (faccessat(AT_FDCWD, dir.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    refuse_folder(dir, fmt::format("cannot be written: {}", std::strerror(errno)));
  }
}

// Ours: an earlier run has been here, or only the launch scripts have.
void require_ours(const fs::path& dir) {
  if (fs::exists(dir / "run.lock") || fs::exists(dir / "config.resolved.cfg")) return;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (std::find(kLaunchEntries.begin(), kLaunchEntries.end(), name) != kLaunchEntries.end()) continue;
    refuse_folder(
        dir, fmt::format("is not empty and no earlier run has made it (it holds {}); choose another", printable(name)));
  }
}

fs::path prepare(const fs::path& dir) {
  make_folder(dir);
  try {
    require_ours(dir);
  } catch (const fs::filesystem_error& failure) {
    refuse_folder(dir, failure.code().message());
  }
  return dir;
}

std::vector<std::string> remove_earlier_run(const fs::path& dir) {
  std::vector<std::string> removed;
  for (const std::string_view name : kRunEntries) {
    if (!is_there(dir / name)) continue;
    remove_tree(dir / name);
    removed.emplace_back(name);
  }
  if (!removed.empty()) sync_folder(dir);
  return removed;
}

// NAME.tmp or NAME.tmp-…, of a NAME that a run leaves.
bool is_temporary(const std::string& name) {
  const std::size_t mark = name.find(".tmp");
  if (mark == std::string::npos || (mark + 4 != name.size() && name[mark + 4] != '-')) return false;
  const std::string_view stem = std::string_view(name).substr(0, mark);
  return std::find(kRunEntries.begin(), kRunEntries.end(), stem) != kRunEntries.end();
}

void remove_unfinished(const fs::path& dir) {
  for (const auto& entry : entries_in(dir)) {
    if (is_temporary(entry.path().filename().string())) remove_tree(entry.path());
  }
}

}  // namespace

RunFolder::RunFolder(const fs::path& dir, bool overwrite) : dir_(prepare(dir)), lock_(dir_ / "run.lock") {
  remove_unfinished(dir_);
  if (overwrite) removed_ = remove_earlier_run(dir_);
}

void write_exit(const fs::path& dir, ExitStatus status, const std::string& reason, std::int64_t step) {
  const Holder me = this_process();
  const nlohmann::ordered_json content{
      {"status", static_cast<int>(status)}, {"reason", reason},          {"step", step}, {"job", me.job},
      {"restart_count", me.restart_count},  {"time", std::time(nullptr)}};
  // Invalid bytes, from a file's name in the reason, are replaced: the file must be written whatever the reason says.
  replace_file(dir / "exit.json", content.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n');
}

}  // namespace shardora
