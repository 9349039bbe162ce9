// What the doctor has seen, for the reader and for a script. On rank 0.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/comm/process_grid.h"
#include "runtime/jobs/doctor/collectives.h"
#include "runtime/jobs/doctor/facts.h"
#include "runtime/jobs/doctor/filesystem.h"

namespace shardora {

struct Examination {
  std::vector<RankFacts> ranks;
  std::vector<GridPlace> places;  // of the ranks
  std::string compute;            // the backend and its communicator, and why
  double copies = 0;              // bytes/s, measure_copies()
  std::vector<GroupTest> groups;
  std::optional<FolderFacts> folder;  // rank 0's; none: no output.dir
  Findings findings;

  bool usable() const;  // no fault
};

std::string to_text(const Examination& seen);
nlohmann::ordered_json to_json(const Examination& seen);

}  // namespace shardora
