#include "runtime/formats/config_file.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <sstream>

#include "kernels/check.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

// Where a comment begins in text that follows `before`; the text's end where there is none.
std::size_t comment_in(std::string_view text, char before = ' ') {
  for (std::size_t i = 0; i < text.size(); before = text[i++]) {
    if (text[i] == '#' && kBlanks.find(before) != std::string_view::npos) return i;
  }
  return text.size();
}

std::string without_comment(std::string_view text, char before = ' ') {
  return trimmed(text.substr(0, comment_in(text, before)));
}

// `text`: what follows the opening quote. Nothing where it is never closed, or where more follows.
std::optional<std::string> quoted_value(std::string_view text) {
  std::string value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"' && !text.substr(i + 1).starts_with('"')) {
      return without_comment(text.substr(i + 1), '"').empty() ? std::optional(value) : std::nullopt;
    }
    value += text[i];
    if (text[i] == '"') ++i;
  }
  return std::nullopt;
}

}  // namespace

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin));
}

std::vector<std::pair<std::string, std::string>> parse_config(const std::string& text, const std::string& where) {
  std::vector<std::pair<std::string, std::string>> entries;
  std::istringstream lines(text);
  std::string section;
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::string content = without_comment(line);
    if (content.empty()) continue;
    if (content.front() == '[' && content.back() == ']') {
      section = trimmed(content.substr(1, content.size() - 2)) + ".";
      continue;
    }
    const std::size_t equals = content.find('=');
    if (equals == std::string::npos) {
      refuse(ExitStatus::kUsage, "'{}' {}, line {}: expected [section] or key = value", printable(content), where,
             number);
    }
    const std::string_view behind = std::string_view(line).substr(line.find('=') + 1);
    const std::string key = section + trimmed(content.substr(0, equals));
    const std::size_t begin = std::min(behind.find_first_not_of(kBlanks), behind.size());
    if (!behind.substr(begin).starts_with('"')) {
      entries.emplace_back(key, without_comment(behind, '='));
      continue;
    }
    const std::optional<std::string> value = quoted_value(behind.substr(begin + 1));
    if (!value) {
      refuse(ExitStatus::kUsage, "{} {}, line {}: expected nothing but a comment behind the quote that ends its value",
             key, where, number);
    }
    entries.emplace_back(key, *value);
  }
  return entries;
}

std::string config_value(const std::string& value) {
  if (!value.starts_with('"') && comment_in(value) == value.size()) return value;
  std::string quoted = "\"";
  for (const char c : value) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + '"';
}

}  // namespace shardora
