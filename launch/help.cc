#include <fmt/format.h>

#include "launch/options.h"

namespace shardora {
namespace {

// A cell of a Markdown table: a bar would end it, and an underscore or an asterisk means nothing there.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text)
    out += std::string_view("|*_<").find(c) == std::string_view::npos ? std::string(1, c) : std::string("\\") + c;
  return out;
}

}  // namespace

std::string general_help() {
  std::string text =
      "shardora COMMAND [--config FILE] [--section.key=value …]        one rank\n"
      "mpirun -np N shardora COMMAND …                                 N ranks\n"
      "srun --mpi=pmix shardora COMMAND …                              the ranks of a Slurm step\n"
      "shardora COMMAND --help                                         the keys of a command\n"
      "shardora --keys                                                 every key, as a page of Markdown\n"
      "shardora --version\n\nCommands:\n";
  for (const CommandInfo& command : command_table()) {
    text += fmt::format("  {:<10}{}\n", command.name, command.summary);
  }
  return text +
         "\nA flag wins over the environment (SHARDORA_SECTION_KEY), which wins over the file ([section], then key = "
         "value).\n";
}

std::string command_help(const CommandInfo& command) {
  RunOptions defaults;
  std::string text = fmt::format("shardora {}: {}\n", command.name, command.summary);
  std::string section;
  for (const OptionKey& option : option_table(defaults)) {
    if ((option.used_by & command.bit) == 0) continue;
    if (option.section() != section) text += fmt::format("\n[{}]\n", option.section());
    section = option.section();
    const std::string value = option.value.print();
    const std::string otherwise = (option.needed_by & command.bit) != 0 ? "must be given"
                                  : value.empty()                       ? "default: nothing"
                                                                        : "default: " + value;
    text += fmt::format("  --{}\n      {}\n      {}; {}\n", option.name, option.help, option.value.expected, otherwise);
  }
  return text;
}

std::string keys_page() {
  RunOptions defaults;
  std::string text =
      "# Every key\n\nWhat `shardora --keys` prints. A key is given as a flag (`--adapter.rank=16`), in the "
      "environment "
      "(`SHARDORA_ADAPTER_RANK=16`), or in a file given to `--config` (`[adapter]`, then `rank = 16`); the first of "
      "these "
      "that has it wins. An unknown key, or a value out of range, is an error that names it (exit status 64).\n";
  std::string section;
  for (const OptionKey& option : option_table(defaults)) {
    if (option.section() != section) {
      section = option.section();
      text += fmt::format("\n## {}\n\n| key | default | what | values | commands |\n| --- | --- | --- | --- | --- |\n",
                          section);
    }
    const std::string value = option.value.print();
    text += fmt::format("| `{}` | {} | {} | {} | {} |\n", option.key(), value.empty() ? "" : "`" + value + "`",
                        cell(option.help), cell(option.value.expected), commands_of(option.used_by));
  }
  return text;
}

}  // namespace shardora
