// The last line of standard output: one JSON object, from rank 0 only, for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "runtime/train/run.h"

namespace shardora {

// Throws AgreedError(kIo) where it cannot be written.
void print_result(const Machine& machine, const nlohmann::ordered_json& result);

// One object for a single set; one object under its name for each of several.
nlohmann::ordered_json to_json(const std::vector<Evaluation>& evaluations);

}  // namespace shardora
