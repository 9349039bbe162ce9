// Checking a pattern's syntax before std::regex sees it, and matching.
#include "runtime/formats/module_pattern.h"

// With the address sanitizer g++ 12 sees uninitialised values inside of <regex> (its bug 105562).
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <algorithm>
#include <cctype>
#include <regex>
#include <string_view>

#include "runtime/system/printable.h"

namespace shardora {
namespace {

constexpr std::size_t kLongestPattern = 2000, kLongestName = 500;
constexpr std::size_t kMostRepeats = 100;  // product of all {counts}: bounds the automaton

bool is_plain(std::string_view pattern) {
  return std::all_of(pattern.begin(), pattern.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
}

// Walks over a pattern once and says what in it std::regex would read differently from Python, or might choke on.
class SyntaxCheck {
 public:
  explicit SyntaxCheck(std::string_view pattern) : rest_(pattern) {}

  // Empty where nothing is wrong.
  std::string_view fault() {
    if (rest_.empty() || rest_.size() > kLongestPattern) return "it must have 1 to 2000 characters";
    bool after_quantifier = false;
    while (!rest_.empty() && fault_.empty()) {
      const bool quantifier = std::string_view("*+?{").find(rest_.front()) != std::string_view::npos;
      if (quantifier && after_quantifier) return "a repetition of a repetition is not supported";
      after_quantifier = quantifier;
      quantifier ? take_quantifier() : take_atom();
    }
    return fault_;
  }

 private:
  void take_quantifier() {
    if (rest_.front() == '{') {
      const std::size_t end = rest_.find('}');
      count_repeats(rest_.substr(1, end == std::string_view::npos ? end : end - 1));
      rest_.remove_prefix(std::min(end, rest_.size() - 1));
    }
    rest_.remove_prefix(1);
    if (rest_.starts_with('?')) rest_.remove_prefix(1);
  }

  void count_repeats(std::string_view counts) {
    std::size_t number = 0, largest = 1;
    for (const char c : counts) {
      if (c != ',' && std::isdigit(static_cast<unsigned char>(c)) == 0) fault_ = "{ must be escaped, or hold counts";
      number = c == ',' ? 0 : std::min(number * 10 + static_cast<std::size_t>(c - '0'), kMostRepeats + 1);
      largest = std::max(largest, number);
    }
    repeats_ *= largest;
    if (repeats_ > kMostRepeats) fault_ = "its repetition counts are too large";
  }

  void take_atom() {
    const char c = rest_.front();
    const unsigned char byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte > 0x7E) fault_ = "only printable ASCII characters are supported";
    if (c == '\\') return take_escape();
    rest_.remove_prefix(1);
    if (c == '[') return take_class();
    if (c == '(' && rest_.starts_with('?')) {
      const bool known = rest_.starts_with("?:") || rest_.starts_with("?=") || rest_.starts_with("?!");
      if (!known) fault_ = "of (?…) only (?:…), (?=…) and (?!…) are supported";
      rest_.remove_prefix(std::min<std::size_t>(2, rest_.size()));
    }
  }

  void take_escape() {
    rest_.remove_prefix(1);
    const char c = rest_.empty() ? 'x' : rest_.front();
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (letter && std::string_view("dDwWsSbB").find(c) == std::string_view::npos) {
      fault_ = "of the escapes with letters or digits only \\d \\D \\w \\W \\s \\S \\b \\B are supported";
    }
    if (!rest_.empty()) rest_.remove_prefix(1);
  }

  void take_class() {
    if (rest_.starts_with('^')) rest_.remove_prefix(1);
    if (rest_.starts_with(']')) fault_ = "] at the start of a class must be escaped";
    while (!rest_.empty() && rest_.front() != ']' && fault_.empty()) {
      if (rest_.front() == '[') fault_ = "[ in a class must be escaped";
      rest_.front() == '\\' ? take_escape() : rest_.remove_prefix(1);
    }
    if (rest_.empty()) fault_ = "a class is not closed";
    if (!rest_.empty()) rest_.remove_prefix(1);
  }

  std::string_view rest_;
  std::string_view fault_;
  std::size_t repeats_ = 1;
};

std::regex compile(const std::string& pattern) {
  // Without __polynomial libstdc++ backtracks: (a+)+b takes for ever, and a long name overflows the stack.
  return std::regex(pattern, std::regex::ECMAScript | std::regex_constants::__polynomial);
}

}  // namespace

struct ModulePattern::Compiled {
  std::regex regex;
};

ModulePattern::ModulePattern(const std::string& pattern, Match match, const std::string& where, ExitStatus status)
    : pattern_(pattern), match_(match), plain_(is_plain(pattern)) {
  const auto refuse_pattern = [&](std::string_view fault) {
    refuse(status, "{}: '{}' is no regular expression that can be used here: {}", where, printable(pattern), fault);
  };
  const std::string_view fault = SyntaxCheck(pattern).fault();
  if (!fault.empty()) refuse_pattern(fault);
  if (plain_) return;
  try {
    const std::regex alone = compile(pattern);  // "a)|(b" would be valid inside of the brackets
    const bool suffix = match == Match::kSuffix;
    compiled_ = std::make_shared<Compiled>(Compiled{suffix ? compile("(.*\\.)?(" + pattern + ")") : alone});
  } catch (const std::regex_error& error) {
    refuse_pattern(error.what());
  }
}

bool ModulePattern::matches(const std::string& module) const {
  if (module.size() > kLongestName) return false;
  if (!plain_) return std::regex_match(module, compiled_->regex);
  if (module.size() < pattern_.size()) return false;
  const std::size_t before = module.size() - pattern_.size();
  if (before > 0 && (match_ == Match::kFull || module[before - 1] != '.')) return false;
  return std::equal(pattern_.begin(), pattern_.end(), module.begin() + static_cast<std::ptrdiff_t>(before),
                    [](char in_pattern, char in_name) { return in_pattern == '.' || in_pattern == in_name; });
}

}  // namespace shardora
