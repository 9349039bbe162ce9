// manifest.json of a checkpoint: what it says of itself, and size and checksum of each of its files. Only
// checkpoints.cc needs it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "runtime/run/checkpoints.h"

namespace shardora {

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

}  // namespace shardora
