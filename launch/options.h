// From a shell's words to checked RunOptions. The command line wins over the environment, which wins over the file.
#pragma once

#include <string>
#include <vector>

#include "launch/option_table.h"
#include "runtime/options.h"

namespace shardora {

struct Invocation {
  const CommandInfo* command = nullptr;  // in command_table(), not owned
  RunOptions options;
};

// COMMAND [--config FILE] [--section.key=value …], without the program's name. Throws Error(kUsage) naming key, value,
// where it was given and what was expected.
Invocation parse_invocation(const std::vector<std::string>& words);

// Throws Error(kUsage) where keys do not fit together, or where the command lacks one that it needs.
void check_options(const CommandInfo& command, const RunOptions& options);

// The text of config.resolved.cfg: every key with its value; given to --config it gives the same options again.
std::string resolved_config(const RunOptions& options);
// What must be the same on every rank, one "section.key = value" a line.
std::string agreed_config(const RunOptions& options);

}  // namespace shardora
