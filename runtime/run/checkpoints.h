// Checkpoints: whole or not there, found by their own manifests. Only rank 0 calls these, but for
// require_seen().
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kernels/check.h"

namespace shardora {

// What a checkpoint says of itself besides its files.
struct Manifest {
  std::int64_t step = 0;
  std::string world;               // "4 ranks, tensor 2": told, not required
  std::string configuration_json;  // the part of the configuration that must not change, key by key
  std::int64_t threads = 0;
  std::string instruction_set;
};

// A checkpoint folder checkpoints/step-N, committed so that a kill at any moment leaves either a whole one or none:
// all files into step-N.tmp-<job>, fsync each, manifest.json (size and checksum of each file) last, fsync, rename,
// fsync.
class Checkpoints {
 public:
  Checkpoints(const std::filesystem::path& run_dir, std::int64_t keep);
  std::filesystem::path path_of(std::int64_t step) const;
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
