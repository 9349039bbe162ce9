#include "runtime/run/staged_folder.h"

#include <unistd.h>

#include <system_error>

#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "run.lock";

void require_an_attempt(const fs::path& partial) {
  if (!fs::exists(partial) || fs::is_empty(partial) || fs::exists(partial / kLock)) return;
  refuse(ExitStatus::kOutputBusy, "{} is not what an unfinished attempt leaves: move it, or choose another output.dir",
         printable(partial.string()));
}

// The place itself: behind a link, and without a slash at the end.
fs::path real_place(fs::path folder) {
  if (fs::exists(folder)) return fs::canonical(folder);
  while (!folder.has_filename() && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

}  // namespace

StagedFolder::StagedFolder(fs::path folder)
    : folder_(real_place(std::move(folder))), partial_(folder_.string() + ".partial") {
  require_an_attempt(partial_);
  make_folders(partial_);
  lock_.emplace(partial_ / kLock);
  for (const fs::directory_entry& entry : fs::directory_iterator(partial_)) {
    if (entry.path().filename() != kLock) remove_tree(entry.path());
  }
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;  // what cannot be removed is removed by the next attempt
  if (lock_ && !published_) fs::remove_all(partial_, ignored);
}

void StagedFolder::publish() {
  remove_tree(partial_ / kLock);
  sync_folder(partial_);
  const fs::path old = folder_.string() + fmt::format(".old-{}", ::getpid());
  const bool replaces = fs::exists(folder_) && !fs::is_empty(folder_);
  if (replaces) rename_path(folder_, old);
  rename_path(partial_, folder_);
  published_ = true;
  sync_folder(fs::absolute(folder_).parent_path());
  if (replaces) remove_tree(old);
}

}  // namespace shardora
