// The last line of standard output: one JSON object, from rank 0 only, for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/train/run.h"

namespace shardora {

// Throws AgreedError(kIo) where it cannot be written.
void print_result(const Machine& machine, const nlohmann::ordered_json& result);

}  // namespace shardora
