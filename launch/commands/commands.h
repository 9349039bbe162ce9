// What each command does once the ranks agree: calls the runtime and prints the result. Returns the exit status.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "launch/options.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/session/context.h"

namespace shardora {

// Of any command but doctor. plan and inspect: on one rank.
ExitStatus run_command(const CommandInfo& command, const RunOptions& options, const Context& context);
// Before there is a Context: it looks at what makes one.
ExitStatus run_doctor(MpiSession& session, const RunOptions& options, Watchdog& watchdog);

// Which build of the program this is: the same for copies of one file, another for another build.
std::string program_identity();

// The last line of standard output: one JSON object, from rank 0 only, for scripts. What stands above it there:
enum class Above { kNothing, kReport };
// Throws AgreedError(kIo) where it cannot be written. Below a report a reader at a terminal is spared it.
void print_result(Communicator& world, const nlohmann::ordered_json& result, Above above = Above::kNothing);
// The same of a command whose product is a folder: where it cannot be written, a warning says so.
void print_result(const Context& context, const nlohmann::ordered_json& result);
// `terminal`: standard output is one. `launched`: by mpirun or srun, which may give a program a terminal of their own
// and write what it says to a file.
bool is_result_wanted(Above above, bool terminal, bool launched);

}  // namespace shardora
