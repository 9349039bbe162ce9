// The output folder of a run: who holds it, and how the run ended. Only rank 0 holds it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "runtime/run/run_lock.h"

namespace shardora {

// Holds output.dir for one run. Made where only its parent exists. Throws Error(kOutputBusy) naming the holder where
// another run has it, where the folder is not empty and not ours (neither run.lock nor config.resolved.cfg is in it),
// or where it cannot be written. Temporary files of starts that have died are removed. `overwrite` removes what earlier
// runs left, and nothing that no run has made; a folder that is not ours is refused all the same.
class RunFolder {
 public:
  RunFolder(const std::filesystem::path& dir, bool overwrite);
  const std::filesystem::path& dir() const { return dir_; }
  // What `overwrite` has removed, by name: for a message to the user.
  const std::vector<std::string>& removed() const { return removed_; }
  // Before anything is committed: throws where the folder was removed, or another run has taken it.
  void require_held() const { lock_.require_held(); }

 private:
  std::filesystem::path dir_;
  RunLock lock_;
  std::vector<std::string> removed_;
};

// exit.json of an output folder that is this run's, by temporary file and rename: why and how it ended, with job,
// restart count and time (seconds since 1970). Status 75 has a reason whose first word, up to a colon, scripts may
// test: "signal", "time limit", "lost peer". By rank 0, or by another where that one is lost.
void write_exit(const std::filesystem::path& dir, ExitStatus status, const std::string& reason, std::int64_t step);

}  // namespace shardora
