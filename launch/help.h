// The words of --help, made from the table of options.
#pragma once

#include <string>

#include "launch/option_table.h"

namespace shardora {

std::string general_help();
std::string command_help(const CommandInfo& command);
std::string keys_page();  // Markdown; launch/docs/keys.md is this text

}  // namespace shardora
