// The commit protocol: everything into a temporary folder, each file and folder synced, the manifest last, all of it
// read back, then one rename. A folder named step-N therefore was whole when it got its name; whether it still is, its
// checksums tell.
#include "runtime/run/checkpoints.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "runtime/run/manifest.h"
#include "runtime/run/run_lock.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";

// Temporary and set-aside names: told apart by job, and outside of jobs by process.
std::string this_job() {
  const Holder me = this_process();
  return me.job == "none" ? fmt::format("p{}", me.process) : me.job;
}

// N of a folder named exactly step-N.
std::optional<std::int64_t> step_of(const std::string& name) {
  if (!name.starts_with("step-")) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc{} || fmt::format("step-{}", step) != name) return std::nullopt;
  return step;
}

struct Listed {
  std::int64_t step;
  fs::path path;
};
std::vector<Listed> newest_first(const fs::path& dir) {
  std::vector<Listed> found;
  if (!is_there(dir)) return found;
  for (const auto& entry : entries_in(dir)) {
    const auto step = step_of(entry.path().filename().string());
    if (step && entry.is_directory()) found.push_back({*step, entry.path()});
  }
  std::sort(found.begin(), found.end(), [](const Listed& a, const Listed& b) { return a.step > b.step; });
  return found;
}

void sync_tree(const fs::path& folder) {
  for (const auto& entry : entries_below(folder)) {
    if (entry.is_directory()) {
      sync_folder(entry.path());
    } else {
      sync_file(entry.path());
    }
  }
  sync_folder(folder);
}

// Compares what is in a folder with what its manifest says; the first difference is thrown by name. The cheap way
// compares names and sizes alone.
ManifestFile verified(const fs::path& folder, bool with_checksums) {
  ManifestFile said = read_manifest(folder / kManifest);
  const FileTable there = list_files(folder, with_checksums);
  const auto damaged = [&](const std::string& file, const std::string& fault) {
    refuse(ExitStatus::kBadInput, "checkpoint {} is damaged: {} {}", printable(folder.string()), printable(file),
           fault);
  };
  for (const auto& [name, record] : said.files) {
    const auto found = there.find(name);
    if (found == there.end()) damaged(name, "is missing");
    if (found->second.bytes != record.bytes) {
      damaged(name, fmt::format("has {} bytes, its manifest says {}", found->second.bytes, record.bytes));
    }
    if (with_checksums && found->second.checksum != record.checksum) {
      damaged(name, fmt::format("has checksum {}, its manifest says {}", found->second.checksum, record.checksum));
    }
  }
  for (const auto& [name, record] : there) {
    if (!said.files.contains(name)) damaged(name, "is not in its manifest");
  }
  const auto step = step_of(folder.filename().string());
  if (step && *step != said.manifest.step) damaged(kManifest, fmt::format("is of step {}", said.manifest.step));
  return said;
}

bool is_whole(const fs::path& folder, bool with_checksums) {
  try {
    verified(folder, with_checksums);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// Whether `folder` already holds, whole, what is to be saved: the same step of the same run, saved again.
bool holds_the_same(const fs::path& folder, const ManifestFile& content) {
  if (!is_whole(folder, true)) return false;
  const ManifestFile said = read_manifest(folder / kManifest);
  return said.files == content.files && said.manifest.configuration_json == content.manifest.configuration_json;
}

// A step-N in the way is set aside, never deleted: it may be all that is left.
void set_aside(const fs::path& folder) {
  const std::string stem = fmt::format("{}.bad-{}", folder.string(), this_job());
  std::string name = stem;
  for (int i = 2; is_there(name); ++i) name = fmt::format("{}-{}", stem, i);
  rename_path(folder, name);
}

}  // namespace

Checkpoints::Checkpoints(const fs::path& run_dir, std::int64_t keep)
    : dir_(run_dir / "checkpoints"), keep_(std::max<std::int64_t>(keep, 2)) {}

fs::path Checkpoints::path_of(std::int64_t step) const { return dir_ / fmt::format("step-{}", step); }

void Checkpoints::save(const Manifest& manifest, const std::function<void(const fs::path&)>& write) {
  const fs::path final = path_of(manifest.step);
  const fs::path temporary = fmt::format("{}.tmp-{}", final.string(), this_job());
  if (!is_there(dir_)) {
    make_folder_in(dir_);  // a run's folder that was removed must not come back by a save
    sync_folder(dir_.parent_path());
  }
  const auto discard = [&] {
    std::error_code ignored;  // the first fault is the one to tell; what is left goes at the next start
    fs::remove_all(temporary, ignored);
  };
  remove_tree(temporary);  // of an earlier start of this job
  try {
    make_folder_in(temporary);
    write(temporary);
    const ManifestFile content{manifest, list_files(temporary, true)};
    write_new_file(temporary / kManifest, render_manifest(content));
    sync_tree(temporary);
    verified(temporary, true);
    if (holds_the_same(final, content)) return remove_tree(temporary);
    if (is_there(final)) set_aside(final);
    rename_path(temporary, final);
    sync_folder(dir_);
  } catch (const Error& failure) {
    discard();
    if (failure.status() != ExitStatus::kBadInput) throw;
    refuse(ExitStatus::kIo, "{}; it was written just now and does not read back", failure.what());
  } catch (...) {
    discard();
    throw;
  }
}

Checkpoints::Found Checkpoints::open(const fs::path& path) {
  Manifest manifest = verified(path, true).manifest;
  return {path, std::move(manifest), hex(file_checksum(path / kManifest))};
}

void Checkpoints::require_seen(const fs::path& path, const std::string& manifest_checksum) {
  if (hex(file_checksum(path / kManifest)) == manifest_checksum && is_whole(path, false)) return;
  refuse(ExitStatus::kIo,
         "checkpoint {}: this host ({}) sees other content than rank 0's host: the file systems differ, or a cache is "
         "behind; start again",
         printable(path.string()), this_process().host);
}

std::optional<Checkpoints::Found> Checkpoints::newest(const std::function<void(const std::string&)>& warn) const {
  const std::vector<Listed> candidates = newest_first(dir_);
  for (const Listed& candidate : candidates) {
    try {
      return open(candidate.path);
    } catch (const Error& failure) {
      warn(fmt::format("{}; passed over", failure.what()));
    }
  }
  if (!candidates.empty()) {
    warn(fmt::format("none of the checkpoints in {} is whole: starts from the beginning", printable(dir_.string())));
  }
  return std::nullopt;
}

void Checkpoints::prune(const std::vector<fs::path>& pinned) {
  const auto is_pinned = [&](const fs::path& path) {
    return std::any_of(pinned.begin(), pinned.end(), [&](const fs::path& pin) {
      std::error_code ignored;
      return fs::equivalent(pin, path, ignored);
    });
  };
  std::int64_t whole = 0;
  for (const Listed& candidate : newest_first(dir_)) {
    // Only older ones than `keep` whole ones go. Sizes are enough here: save() has read the newest back.
    if (whole >= keep_ && !is_pinned(candidate.path)) {
      remove_tree(candidate.path);
    } else if (is_whole(candidate.path, false)) {
      ++whole;
    }
  }
}

void Checkpoints::remove_unfinished() {
  if (!is_there(dir_)) return;
  for (const auto& entry : entries_in(dir_)) {
    const std::string name = entry.path().filename().string();
    const std::size_t mark = name.find(".tmp-");
    if (mark != std::string::npos && step_of(name.substr(0, mark))) remove_tree(entry.path());
  }
}

}  // namespace shardora
