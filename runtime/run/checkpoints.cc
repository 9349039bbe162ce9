// The commit protocol: everything into a temporary folder, each file and folder synced, the manifest last, all of it
// read back, then one rename. A folder named step-N therefore was whole when it got its name; whether it still is, its
// checksums tell.
#include "runtime/run/checkpoints.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "runtime/formats/json.h"
#include "runtime/run/run_lock.h"
#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kFormat = "shardora.checkpoint.v1";
constexpr std::int64_t kHighest = std::numeric_limits<std::int64_t>::max();

// The last bytes of the file: always of one length.
std::string ending(std::string_view body) {
  return fmt::format(",\n  \"checksum\": \"{}\"\n}}\n", hex(checksum(std::as_bytes(std::span(body)))));
}

FileTable files_from(const Json& files, const std::string& name) {
  FileTable table;
  const JsonFields records(files, name);
  for (const auto& [file, record] : files.items()) {
    const JsonFields fields(record, name);
    table[file] = {fields.integer("bytes", 0, kHighest), fields.text("xxh3")};
  }
  return table;
}

ManifestFile from_json(const JsonFields& fields, const std::string& name) {
  ManifestFile content;
  content.manifest.step = fields.integer("step", 0, kHighest);
  content.manifest.world = fields.text("world");
  content.manifest.threads = fields.integer("threads", 0, kHighest);
  content.manifest.instruction_set = fields.text("instruction_set");
  const Json *const configuration = fields.find("configuration"), *const files = fields.find("files");
  if (configuration == nullptr || files == nullptr) {
    refuse(ExitStatus::kBadInput, "{}: not a checkpoint's manifest: it has no configuration, or no files", name);
  }
  if (!configuration->is_null()) content.manifest.configuration_json = configuration->dump();
  content.files = files_from(*files, name);
  return content;
}

// Temporary and set-aside names: told apart by job, and outside of jobs by process.
std::string this_job() {
  const Holder me = this_process();
  return me.job == "none" ? fmt::format("p{}", me.process) : me.job;
}

struct Listed {
  std::int64_t step;
  fs::path path;
};
std::vector<Listed> newest_first(const fs::path& dir) {
  std::vector<Listed> found;
  if (!is_there(dir)) return found;
  for (const auto& entry : entries_in(dir)) {
    const auto step = Checkpoints::step_of(entry.path());
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
  const auto step = Checkpoints::step_of(folder);
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

std::string render_manifest(const ManifestFile& content) {
  const std::string& configuration = content.manifest.configuration_json;
  Json files = Json::object();
  for (const auto& [name, record] : content.files) {
    files[name] = Json{{"bytes", record.bytes}, {"xxh3", record.checksum}};
  }
  const Json json{{"format", kFormat},
                  {"step", content.manifest.step},
                  {"world", content.manifest.world},
                  {"threads", content.manifest.threads},
                  {"instruction_set", content.manifest.instruction_set},
                  {"configuration", configuration.empty() ? Json() : Json::parse(configuration)},
                  {"files", files}};
  std::string text = json.dump(2);
  text.resize(text.size() - 2);  // "\n}" comes with the ending
  return text + ending(text);
}

ManifestFile read_manifest(const fs::path& path) {
  const std::string name = printable(path.string());
  const std::string text = read_text(path);
  const std::size_t end = ending("").size();
  if (text.size() < end || !text.ends_with(ending(std::string_view(text).substr(0, text.size() - end)))) {
    refuse(ExitStatus::kBadInput, "{}: is damaged: its own checksum does not fit its text", name);
  }
  const Json json = parse_json(text, name);
  const JsonFields fields(json, name);
  const std::string format = fields.text("format");
  if (format != kFormat) {
    refuse(ExitStatus::kBadInput, "{}: format {}, expected {}; another version of this program wrote it", name,
           printable(format), kFormat);
  }
  return from_json(fields, name);
}

FileTable list_files(const fs::path& folder, bool with_checksums) {
  FileTable files;
  for (const auto& entry : entries_below(folder)) {
    const std::string name = entry.path().lexically_relative(folder).generic_string();
    if (name == kManifest) continue;
    const auto type = entry.symlink_status().type();
    if (type == fs::file_type::directory) continue;
    if (type != fs::file_type::regular) {
      refuse(ExitStatus::kBadInput, "{}: is neither a file nor a folder", printable(entry.path().string()));
    }
    FileRecord& record = files[name];
    record.bytes = static_cast<std::int64_t>(entry.file_size());
    if (with_checksums) record.checksum = hex(file_checksum(entry.path()));
  }
  return files;
}

Checkpoints::Checkpoints(const fs::path& run_dir, std::int64_t keep)
    : dir_(run_dir / "checkpoints"), keep_(std::max<std::int64_t>(keep, 2)) {}

fs::path Checkpoints::path_of(std::int64_t step) const { return dir_ / fmt::format("step-{}", step); }

std::optional<std::int64_t> Checkpoints::step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with("step-")) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc{} || fmt::format("step-{}", step) != name) return std::nullopt;
  return step;
}

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
