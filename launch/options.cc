// Three sources of words, of which Boost takes the first that has a key; then each text becomes a typed value.
#include "launch/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cctype>
#include <fstream>
#include <numeric>
#include <set>
#include <sstream>

#include "kernels/check.h"
#include "runtime/formats/config_file.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

namespace po = boost::program_options;

constexpr std::string_view kPrefix = "SHARDORA_";
constexpr unsigned kAnyCommand = ~0U;  // a file or an environment serves several

// Insertions, deletions and replacements that make one text of the other; at least `limit` where their lengths alone
// show that.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= limit) return limit;
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j + 1] + 1, row[j] + 1, replaced});
    }
  }
  return row.back();
}

// SHARDORA_SECTION_KEY
std::string variable_of(const std::string& name) {
  std::string result(kPrefix);
  for (const char c : name) result += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

class OptionReader {
 public:
  OptionReader(const CommandInfo& command, RunOptions& options)
      : command_(command), options_(options), table_(option_table(options)) {
    known_.add_options()("config", po::value<std::string>());
    for (const OptionKey& key : table_) {
      const auto store = [this, &key](const std::string& text) { set(key, trimmed(text)); };
      known_.add_options()(key.name.c_str(), po::value<std::string>()->notifier(store));
    }
  }

  void read_words(const std::vector<std::string>& words) {
    // No guessing of shortened names, no single-letter flags.
    namespace style = po::command_line_style;
    const int form = style::allow_long | style::long_allow_adjacent | style::long_allow_next;
    where_ = "on the command line";
    try {
      take(po::command_line_parser(words).options(known_).style(form).allow_unregistered().run(),
           command_.bit | command_.accepts);
    } catch (const po::error& error) {
      refuse(ExitStatus::kUsage, "{} {}; expected section.key = value", printable(error.what()), where_);
    }
  }

  void read_environment() {
    const auto key_of = [this](const std::string& variable) -> std::string {
      std::string section;
      for (const OptionKey& key : table_) {
        if (variable == variable_of(key.name)) return key.name;
        if (variable.starts_with(variable_of(key.section() + "."))) section = key.section() + ".";
      }
      if (section.empty()) return {};  // somebody else's
      where_ = "in the environment (" + variable + ")";
      std::string key = variable.substr(kPrefix.size() + section.size());
      for (char& c : key) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      refuse_unknown(section + key, kAnyCommand);
    };
    const po::parsed_options source = po::parse_environment(known_, key_of);
    where_ = "in the environment";
    take(source, kAnyCommand);
  }

  void read_file() {
    if (values_.count("config") == 0) return;
    const std::string path = trimmed(values_["config"].as<std::string>());
    where_ = "in " + printable(path);
    std::ifstream file(path);
    std::ostringstream text;
    if (!(text << file.rdbuf())) {
      refuse(ExitStatus::kUsage,
             "cannot read the configuration file '{}', or it is empty; expected [section] and key = value",
             printable(path));
    }
    po::parsed_options source(&known_);
    for (auto& [key, value] : parse_config(text.str(), where_)) {
      if (key == "config") refuse(ExitStatus::kUsage, "'config' {} is for the command line only", where_);
      source.options.emplace_back(key, std::vector{std::move(value)});
    }
    take(std::move(source), kAnyCommand);
  }

 private:
  // The values that no source before had; takes: the CommandBits whose keys may stand here.
  void take(po::parsed_options source, unsigned takes) {
    std::set<std::string> seen;
    for (const auto& option : source.options) {
      if (option.position_key >= 0) {
        refuse(ExitStatus::kUsage, "unexpected word '{}' {}; expected --section.key=value",
               printable(option.value.at(0)), where_);
      }
      const std::string& name = option.string_key;
      const auto key = std::find_if(table_.begin(), table_.end(), [&](const OptionKey& k) { return k.name == name; });
      if (key == table_.end() && name != "config") refuse_unknown(name, takes);
      if (key != table_.end() && (key->used_by & takes) == 0) {
        refuse(ExitStatus::kUsage, "{} is not used by {}, only by {}; shardora {} --help lists what is", name,
               command_.name, commands_of(key->used_by), command_.name);
      }
      if (seen.insert(name).second) continue;
      refuse(ExitStatus::kUsage, "{} is given twice {}; expected once", name, where_);
    }
    // A length given in a stronger place replaces one of the other kind in a weaker one: --train.steps=10 over a
    // file's epochs. In one place they contradict, which check_options says.
    if (options_.train.steps > 0 || options_.train.epochs > 0) {
      std::erase_if(source.options, [](const auto& option) {
        return option.string_key == "train.steps" || option.string_key == "train.epochs";
      });
    }
    po::store(source, values_);
    po::notify(values_);  // also of sources before, whose values were fine
  }

  [[noreturn]] void refuse_unknown(const std::string& name, unsigned takes) const {
    std::string hint;
    if (const OptionKey* const meant = nearest_option(name, takes)) {
      hint = fmt::format("did you mean '{}'? ", meant->name);
    } else if (const OptionKey* const other = nearest_option(name, kAnyCommand)) {
      hint = fmt::format("'{}' is a key of {} only; ", other->name, commands_of(other->used_by));
    }
    refuse(ExitStatus::kUsage, "unknown key '{}' {}; {}shardora {} --help lists all", printable(name), where_, hint,
           takes == kAnyCommand ? "COMMAND" : command_.name);
  }

  // The key that was probably meant, of those that one of these CommandBits uses; null where none is like it.
  const OptionKey* nearest_option(std::string_view name, unsigned bits) const {
    const std::string_view key = name.substr(name.find('.') + 1);      // all of it where there is no dot
    std::size_t best = std::max<std::size_t>(2, name.size() / 3) + 1;  // further away nothing is alike
    const OptionKey* nearest = nullptr;
    for (const OptionKey& option : table_) {
      if ((option.used_by & bits) == 0) continue;
      // The right key in the wrong section, or in none, costs one.
      const std::size_t distance =
          std::min(edit_distance(name, option.name, best), edit_distance(key, option.key(), best) + 1);
      if (distance >= best) continue;
      best = distance;
      nearest = &option;
    }
    return nearest;
  }

  void set(const OptionKey& key, const std::string& text) const {
    const bool fits_a_file = text.find_first_of("\n\r") == std::string::npos;
    if (fits_a_file && key.value.store(text)) return;
    refuse(ExitStatus::kUsage, "{} = '{}' {}: expected {}", key.name, printable(text), where_,
           fits_a_file ? key.value.expected : key.value.expected + " without line breaks, which no file can hold");
  }

  const CommandInfo& command_;  // not owned
  RunOptions& options_;         // not owned; table_ sets its fields
  const std::vector<OptionKey> table_;
  po::options_description known_;
  po::variables_map values_;
  std::string where_;  // the source that is read: "on the command line"
};

const CommandInfo& find_command(const std::string& name) {
  for (const CommandInfo& command : command_table()) {
    if (command.name == name) return command;
  }
  refuse(ExitStatus::kUsage, "unknown command '{}'; expected one of {}", printable(name), commands_of(kAnyCommand));
}

}  // namespace

Invocation parse_invocation(const std::vector<std::string>& words) {
  if (words.empty()) refuse(ExitStatus::kUsage, "a command is missing; shardora --help lists them");
  Invocation invocation{.command = &find_command(words[0]), .options = {}};
  OptionReader reader(*invocation.command, invocation.options);
  reader.read_words({words.begin() + 1, words.end()});
  reader.read_environment();
  reader.read_file();
  check_options(*invocation.command, invocation.options);
  return invocation;
}

std::string commands_of(unsigned bits) {
  std::vector<std::string> names;
  for (const CommandInfo& command : command_table()) {
    if ((bits & command.bit) != 0) names.push_back(command.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string resolved_config(RunOptions options) {
  std::string text, section;
  for (const OptionKey& key : option_table(options)) {
    if (key.section() != section) text += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", key.section());
    section = key.section();
    text += fmt::format("{} = {}\n", key.key(), config_value(key.value.print()));
  }
  return text;
}

std::string agreed_config(RunOptions options) {
  std::string text;
  for (const OptionKey& key : option_table(options)) {
    if (!key.may_differ) text += fmt::format("{} = {}\n", key.name, key.value.print());
  }
  return text;
}

}  // namespace shardora
