// Three sources of words, merged key by key; then each text becomes a typed value.
#include "launch/options.h"

#include <boost/program_options.hpp>
#include <cctype>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "kernels/check.h"
#include "runtime/formats/config_file.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace po = boost::program_options;

struct Setting {
  std::string text;
  std::string where;  // "on the command line"
  int strength = 0;   // of its source: the greater wins
};
using Settings = std::map<std::string, Setting>;

constexpr std::string_view kPrefix = "SHARDORA_";

po::options_description known_options() {
  po::options_description description;
  description.add_options()("config", po::value<std::string>());
  for (const OptionKey& option : option_table())
    description.add_options()(option.name.c_str(), po::value<std::string>());
  return description;
}

constexpr unsigned kAnyCommand = ~0U;

// Where words were given, and whose keys may stand there: a file or an environment serves several commands.
struct Place {
  std::string text;              // "on the command line"
  unsigned takes = 0;            // CommandBits
  std::string help = "COMMAND";  // whose --help lists them
};

[[noreturn]] void refuse_unknown(const std::string& name, const Place& place) {
  std::string hint;
  if (const std::string meant = nearest_option(name, place.takes); !meant.empty()) {
    hint = fmt::format("did you mean '{}'? ", meant);
  } else if (const std::string other = nearest_option(name, kAnyCommand); !other.empty()) {
    hint = fmt::format("'{}' is a key of {} only; ", other, commands_of(find_option(other)->used_by));
  }
  refuse(ExitStatus::kUsage, "unknown key '{}' {}; {}shardora {} --help lists all", printable(name), place.text, hint,
         place.help);
}

// Boost's own exceptions, in our words.
template <class Parse>
auto parsed(const Place& place, const Parse& parse) {
  try {
    return parse();
  } catch (const po::unknown_option& error) {
    const std::string flag = error.get_option_name();  // "--key=value", or "key"
    const std::string name = flag.substr(std::min(flag.size(), flag.find_first_not_of('-')));
    refuse_unknown(name.substr(0, name.find('=')), place);
  } catch (const po::error& error) {
    refuse(ExitStatus::kUsage, "{} {}; expected section.key = value", printable(error.what()), place.text);
  }
}

// Adds what no stronger source has set.
void add(Settings& settings, const po::parsed_options& source, const std::string& where, int strength) {
  std::set<std::string> seen;
  for (const auto& option : source.options) {
    if (option.position_key >= 0) {
      refuse(ExitStatus::kUsage, "unexpected word '{}' {}; expected --section.key=value", printable(option.value.at(0)),
             where);
    }
    if (!seen.insert(option.string_key).second) {
      refuse(ExitStatus::kUsage, "{} is given twice {}; expected once", printable(option.string_key), where);
    }
    const std::string value = option.value.empty() ? std::string() : trimmed(option.value.at(0));
    settings.try_emplace(option.string_key, Setting{value, where, strength});
  }
}

void add_command_line(Settings& settings, const std::vector<std::string>& words, const CommandInfo& command) {
  const po::options_description known = known_options();
  const Place place{"on the command line", command.takes(), command.name};
  // No guessing of shortened names, no single-letter flags.
  namespace style = po::command_line_style;
  const int form = style::allow_long | style::long_allow_adjacent | style::long_allow_next;
  add(settings, parsed(place, [&] { return po::command_line_parser(words).options(known).style(form).run(); }),
      place.text, 3);
}

void add_environment(Settings& settings) {
  const po::options_description known = known_options();
  const auto key_of = [](const std::string& variable) -> std::string {
    if (!variable.starts_with(kPrefix)) return {};  // somebody else's
    const OptionKey* in_section = nullptr;
    for (const OptionKey& option : option_table()) {
      if (variable == option.variable()) return option.name;
      if (variable.starts_with(option.variable().substr(0, kPrefix.size() + option.section().size() + 1)))
        in_section = &option;
    }
    if (in_section == nullptr) return {};  // somebody else's
    std::string key = variable.substr(kPrefix.size() + in_section->section().size() + 1);
    for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    refuse_unknown(in_section->section() + "." + key, {"in the environment (" + variable + ")", kAnyCommand});
  };
  const Place place{"in the environment", kAnyCommand};
  add(settings, parsed(place, [&] { return po::parse_environment(known, key_of); }), place.text, 2);
}

void add_file(Settings& settings, const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!(text << file.rdbuf())) {
    refuse(ExitStatus::kUsage,
           "cannot read the configuration file '{}', or it is empty; expected [section] and key = value",
           printable(path));
  }
  const Place place{"in " + printable(path), kAnyCommand};
  po::parsed_options source(nullptr);
  for (const auto& [key, value] : parse_config(text.str(), place.text)) {
    if (key == "config") refuse(ExitStatus::kUsage, "'config' {} is for the command line only", place.text);
    if (find_option(key) == nullptr) refuse_unknown(key, place);
    source.options.emplace_back(key, std::vector<std::string>{value});
  }
  add(settings, source, place.text, 1);
}

// A length given in a stronger place replaces one of the other kind in a weaker one: --train.steps=10 over a file's
// epochs. In one place they contradict, which check_options says.
void drop_the_weaker_length(Settings& settings) {
  const auto steps = settings.find("train.steps"), epochs = settings.find("train.epochs");
  if (steps == settings.end() || epochs == settings.end()) return;
  if (steps->second.strength > epochs->second.strength && steps->second.text != "0")
    settings.erase(epochs);
  else if (steps->second.strength < epochs->second.strength && epochs->second.text != "0")
    settings.erase(steps);
}

void store(const OptionKey& option, const Setting& setting, RunOptions& options) {
  const bool fits_a_file = setting.text.find_first_of("\n\r") == std::string::npos;
  if (fits_a_file && option.value.store(setting.text, options)) return;
  refuse(ExitStatus::kUsage, "{} = '{}' {}: expected {}", option.name, printable(setting.text), setting.where,
         fits_a_file ? option.value.expected : option.value.expected + " without line breaks, which no file can hold");
}

const CommandInfo& find_command(const std::string& name) {
  std::string known;
  for (const CommandInfo& command : command_table()) {
    if (command.name == name) return command;
    known += (known.empty() ? "" : ", ") + command.name;
  }
  refuse(ExitStatus::kUsage, "unknown command '{}'; expected one of {}", printable(name), known);
}

template <class Line>
std::string join_lines(const Line& line) {
  std::string text;
  for (const OptionKey& option : option_table()) text += line(option);
  return text;
}

}  // namespace

Invocation parse_invocation(const std::vector<std::string>& words) {
  if (words.empty()) refuse(ExitStatus::kUsage, "a command is missing; shardora --help lists them");
  Invocation invocation{.command = &find_command(words[0]), .options = {}};
  Settings settings;
  add_command_line(settings, {words.begin() + 1, words.end()}, *invocation.command);
  for (const auto& [name, setting] : settings) {
    const OptionKey* option = find_option(name);
    if (option == nullptr || (option->used_by & invocation.command->takes()) != 0) continue;
    refuse(ExitStatus::kUsage, "{} is not used by {}, only by {}; shardora {} --help lists what is", name, words[0],
           commands_of(option->used_by), words[0]);
  }
  add_environment(settings);
  if (const auto config = settings.find("config"); config != settings.end()) add_file(settings, config->second.text);
  drop_the_weaker_length(settings);
  for (const OptionKey& option : option_table()) {
    const auto setting = settings.find(option.name);
    if (setting != settings.end()) store(option, setting->second, invocation.options);
  }
  check_options(*invocation.command, invocation.options);
  return invocation;
}

std::string resolved_config(const RunOptions& options) {
  std::string section;
  return join_lines([&](const OptionKey& option) {
    std::string text;
    if (option.section() != section) text = fmt::format("{}[{}]\n", section.empty() ? "" : "\n", option.section());
    section = option.section();
    return text + fmt::format("{} = {}\n", option.key(), config_value(option.value.print(options)));
  });
}

std::string agreed_config(const RunOptions& options) {
  return join_lines([&](const OptionKey& option) {
    return option.may_differ ? std::string() : fmt::format("{} = {}\n", option.name, option.value.print(options));
  });
}

}  // namespace shardora
