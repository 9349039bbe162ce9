// The last line of standard output: one JSON object, from rank 0 only, for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/session/context.h"

namespace shardora {

// What stands above it on standard output.
enum class Above { kNothing, kReport };

// Throws AgreedError(kIo) where it cannot be written. Below a report a reader at a terminal is spared it.
void print_result(Communicator& world, const nlohmann::ordered_json& result, Above above = Above::kNothing);
// The same of a command whose product is a folder: where it cannot be written, a warning says so.
void print_result(const Context& context, const nlohmann::ordered_json& result);

// `terminal`: standard output is one. `launched`: by mpirun or srun, which may give a program a terminal of their own
// and write what it says to a file.
bool is_result_wanted(Above above, bool terminal, bool launched);

}  // namespace shardora
