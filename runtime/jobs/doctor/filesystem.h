// What a run asks of the file system of output.dir, asked of it: files made once only, written through to the disk,
// renamed in one step, locked; and how fast, and how much room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "runtime/comm/communicator.h"
#include "runtime/jobs/doctor/finding.h"

namespace shardora {

struct FolderFacts {
  std::string folder;  // that was tested: output.dir, or the nearest folder above it that there is
  std::int64_t free_bytes = 0;
  double write_bytes_per_second = 0;  // with fsync; 0: not measured
  bool locks = true;                  // flock works: two runs cannot take one folder
  Findings findings;
};

std::int64_t free_bytes(const std::filesystem::path& folder);  // for this user; 0: not known

// In a folder of its own below `output`, removed again. `host` is its name in the findings.
FolderFacts test_folder(const std::filesystem::path& output, const std::string& host);

// Whether every host sees the same folder. Collective over the world; `first_of_host`: this rank looks for its host.
// The finding is on rank 0.
Findings test_sharing(Communicator& world, const std::filesystem::path& folder, bool first_of_host);

// From the figures to findings.
Findings judge_folder(const FolderFacts& facts, const std::string& host);

}  // namespace shardora
