// The last line of standard output: one JSON object, from rank 0 only, for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/comm/communicator.h"

namespace shardora {

// Throws AgreedError(kIo) where it cannot be written.
void print_result(Communicator& world, const nlohmann::ordered_json& result);

}  // namespace shardora
