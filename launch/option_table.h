// The one table of options: everything that is known of a key. Defaults are those of runtime/options.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/option_values.h"

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
  unsigned takes() const { return bit | accepts; }
};
const std::vector<CommandInfo>& command_table();

struct OptionKey {
  std::string name;         // section.key
  unsigned used_by = 0;     // CommandBits
  unsigned needed_by = 0;   // CommandBits: must be given
  bool may_differ = false;  // between ranks: it changes no result
  std::string help;
  OptionValue value;

  std::string section() const { return name.substr(0, name.find('.')); }
  std::string key() const { return name.substr(name.find('.') + 1); }
  std::string variable() const;  // SHARDORA_SECTION_KEY
};
const std::vector<OptionKey>& option_table();  // sections together, in the order of their printing
const OptionKey* find_option(std::string_view name);
// The key that was probably meant, of those that one of these CommandBits uses; empty where none is like it.
std::string nearest_option(std::string_view name, unsigned bits);
std::string commands_of(unsigned bits);  // "train, plan"

}  // namespace shardora
