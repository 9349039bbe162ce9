#include "launch/help.h"

#include <fmt/format.h>

namespace shardora {

std::string general_help() {
  std::string text =
      "shardora COMMAND [--config FILE] [--section.key=value …]        one rank\n"
      "mpirun -np N shardora COMMAND …                                 N ranks\n"
      "srun --mpi=pmix shardora COMMAND …                              the ranks of a Slurm step\n"
      "shardora COMMAND --help                                         the keys of a command\n"
      "shardora --version\n\nCommands:\n";
  for (const CommandInfo& command : command_table()) {
    text += fmt::format("  {:<10}{}\n", command.name, command.summary);
  }
  return text +
         "\nA flag wins over the environment (SHARDORA_SECTION_KEY), which wins over the file ([section], then key = "
         "value).\n";
}

std::string command_help(const CommandInfo& command) {
  const RunOptions defaults;
  std::string text = fmt::format("shardora {}: {}\n", command.name, command.summary);
  std::string section;
  for (const OptionKey& option : option_table()) {
    if ((option.used_by & command.bit) == 0) continue;
    if (option.section() != section) text += fmt::format("\n[{}]\n", option.section());
    section = option.section();
    const std::string value = option.value.print(defaults);
    const std::string otherwise = (option.needed_by & command.bit) != 0 ? "must be given"
                                  : value.empty()                       ? "default: nothing"
                                                                        : "default: " + value;
    text += fmt::format("  --{}\n      {}\n      {}; {}\n", option.name, option.help, option.value.expected, otherwise);
  }
  return text;
}

}  // namespace shardora
