// A folder that appears whole or not at all: filled beside its place under the name FOLDER.partial, then renamed. Only
// rank 0 calls this.
#pragma once

#include <filesystem>
#include <optional>

#include "runtime/run/run_lock.h"

namespace shardora {

class StagedFolder {
 public:
  // Makes FOLDER.partial, empty; what a killed attempt has left there is removed first. Throws Error(kOutputBusy) where
  // another process is filling it, or where it holds what no attempt has made.
  explicit StagedFolder(std::filesystem::path folder);
  ~StagedFolder();  // removes it unless it was published
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;

  const std::filesystem::path& path() const { return partial_; }
  // Takes its place. An older folder there is moved aside first and removed last, so that one of the two is always
  // whole.
  void publish();

 private:
  std::filesystem::path folder_, partial_;
  std::optional<RunLock> lock_;
  bool published_ = false;
};

}  // namespace shardora
