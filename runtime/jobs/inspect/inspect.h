// The parts of inspect: each prints for the reader and returns the same for a script. What looks wrong is collected.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "runtime/options.h"

namespace shardora {

struct Problems {
  std::vector<std::string> unusable;  // no command can do what it is for with this
  std::vector<std::string> notes;     // it can, and this may be meant
};

// Each part throws Error(kBadInput) where a file is broken or not what it should be.
nlohmann::ordered_json inspect_model(const std::filesystem::path& folder, Problems& problems);
// A PEFT folder. With `base`, m is also compared with m0 = ||W||; an empty path: without.
nlohmann::ordered_json inspect_adapter(const std::filesystem::path& folder, const std::filesystem::path& base,
                                       Backend& backend, Problems& problems);
// A folder checkpoints/step-N.
nlohmann::ordered_json inspect_checkpoint(const std::filesystem::path& folder);
// `vocabulary`: ids are checked against it. `longest`: what the model reads; longer sequences are a problem.
struct DatasetLimits {
  std::int64_t vocabulary = 0, longest = 0;
};
nlohmann::ordered_json inspect_dataset(const std::string& path, const DatasetLimits& limits, Problems& problems);

// The whole job, on one rank: whatever the options name. Prints its report; what the result lacks is null, and its
// problem is among the unusable.
nlohmann::ordered_json inspect(const RunOptions& options, Backend& backend, Problems& problems);

}  // namespace shardora
