// Checkpoints: whole or not there, found by their own manifests: manifest.json holds size and checksum of each file.
// Only rank 0 calls these, but for require_seen().
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/check.h"

namespace shardora {

// What a checkpoint's manifest holds besides its files.
struct Manifest {
  std::int64_t step = 0;
  std::string world;               // "4 ranks, tensor 2": for messages, not required
  std::string configuration_json;  // the part of the configuration that must not change, key by key
  std::int64_t threads = 0;
  std::string instruction_set;
};

struct FileRecord {
  std::int64_t bytes = 0;
  std::string checksum;  // XXH3 of the content, in hex
  bool operator==(const FileRecord&) const = default;
};
using FileTable = std::map<std::string, FileRecord>;  // by path within the checkpoint

struct ManifestFile {
  Manifest manifest;
  FileTable files;
};

// The text ends in a checksum of all that stands before it, so that no bit of it can change unseen.
std::string render_manifest(const ManifestFile& content);
// Throws Error(kBadInput) naming the file.
ManifestFile read_manifest(const std::filesystem::path& path);

// The files in a checkpoint folder but its manifest, with their sizes; `with_checksums` reads them all. Throws
// Error(kBadInput) where something is neither a file nor a folder.
FileTable list_files(const std::filesystem::path& folder, bool with_checksums);

// A checkpoint folder checkpoints/step-N, committed so that a kill at any moment leaves either a whole one or none:
// all files into step-N.tmp-<job>, fsync each, manifest.json (size and checksum of each file) last, fsync, rename,
// fsync.
class Checkpoints {
 public:
  Checkpoints(const std::filesystem::path& run_dir, std::int64_t keep);
  std::filesystem::path path_of(std::int64_t step) const;
  static std::optional<std::int64_t> step_of(const std::filesystem::path& folder);  // N, where its name is step-N
  // `write` fills the given empty folder. On any error the attempt is removed and the error passed on.
  void save(const Manifest& manifest, const std::function<void(const std::filesystem::path&)>& write);
  // The newest step whose manifest and files are whole; damaged ones are reported through `warn` and passed over.
  struct Found {
    std::filesystem::path path;
    Manifest manifest;
    std::string manifest_checksum;  // of the file: what other hosts must see
  };
  std::optional<Found> newest(const std::function<void(const std::string&)>& warn) const;
  // A given checkpoint folder. Throws Error(kBadInput) where it is damaged.
  static Found open(const std::filesystem::path& path);
  // Any rank, before it reads what rank 0 has chosen: caches of shared file systems differ between hosts. Throws
  // Error(kIo) where the manifest is another one, or a file is missing or of another size.
  static void require_seen(const std::filesystem::path& path, const std::string& manifest_checksum);
  // Keeps the newest `keep` (at least two) and those in `pinned`; removes older ones.
  void prune(const std::vector<std::filesystem::path>& pinned);
  // Temporary folders of starts that have died; the run's lock is held.
  void remove_unfinished();

 private:
  std::filesystem::path dir_;
  std::int64_t keep_;
};

}  // namespace shardora
