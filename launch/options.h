// From a shell's words to checked RunOptions, and the texts that are made of the one table of keys. The command line
// wins over the environment, which wins over the file.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/options.h"

namespace shardora {

enum CommandBit : unsigned {
  kTrain = 1,
  kEval = 2,
  kMerge = 4,
  kGenerate = 8,
  kInspect = 16,
  kPlan = 32,
  kAnalyze = 64,
  kDoctor = 128
};

struct CommandInfo {
  std::string name;
  unsigned bit = 0;
  std::string summary;
  unsigned accepts = 0;  // CommandBits whose keys it takes as well: a run's own command line
};
const std::vector<CommandInfo>& command_table();

// The value of a key in some options (not owned). Reading what it prints gives the value again.
struct OptionValue {
  std::string expected;                                // "a whole number from 1 to 65536"
  std::function<bool(const std::string& text)> store;  // false, and nothing is set, where the text is not as expected
  std::function<std::string()> print;
};

// Everything that is known of a key but its default, which is that of runtime/options.h.
struct OptionKey {
  std::string name;      // section.key
  unsigned used_by = 0;  // CommandBits
  OptionValue value;
  std::string help;
  unsigned needed_by = 0;   // CommandBits: must be given
  bool may_differ = false;  // between ranks: it changes no result

  std::string section() const { return name.substr(0, name.find('.')); }
  std::string key() const { return name.substr(name.find('.') + 1); }
};
// Every key, with its value in these options. Sections together, in the order of their printing.
std::vector<OptionKey> option_table(RunOptions& options);

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
std::string resolved_config(RunOptions options);
// What must be the same on every rank, one "section.key = value" a line.
std::string agreed_config(RunOptions options);

std::string general_help();
std::string command_help(const CommandInfo& command);
std::string keys_page();                 // Markdown; launch/docs/keys.md is this text
std::string commands_of(unsigned bits);  // "train, plan"

}  // namespace shardora
