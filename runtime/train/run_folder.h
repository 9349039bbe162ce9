// The output folder of a run: who holds it, and how the run ended. Only rank 0 calls these.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "runtime/train/run_lock.h"

namespace shardora {

// Holds output.dir for one run. Made where only its parent exists. Throws Error(kOutputBusy) naming the holder where
// another run has it, where the folder is not empty and not ours (neither run.lock nor config.resolved.cfg is in it),
// or where it cannot be written. `overwrite` removes what earlier runs left, and nothing that no run has made; a folder
// that is not ours is refused all the same.
class RunFolder {
 public:
  RunFolder(const std::filesystem::path& dir, bool overwrite);
  const std::filesystem::path& dir() const { return dir_; }
  // What `overwrite` has removed, by name: to be told to the user.
  const std::vector<std::string>& removed() const { return removed_; }
  // exit.json, by temporary file and rename: why and how the run ended, with job, restart count and time (seconds since
  // 1970), so that a script can tell this start's file from an earlier one's.
  void write_exit(ExitStatus status, const std::string& reason, std::int64_t step);

 private:
  std::filesystem::path dir_;
  RunLock lock_;
  std::vector<std::string> removed_;
};

// The same by a rank that does not hold the folder, where the one that does is lost.
void write_exit(const std::filesystem::path& dir, ExitStatus status, const std::string& reason, std::int64_t step);

}  // namespace shardora
