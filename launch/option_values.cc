// Numbers, words and names.
#include "launch/option_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace shardora {
namespace {

template <class T>
OptionValue whole_number(const Field<T>& at, ValueRange range) {
  return {.expected = "a whole number" + range.text(),
          .store =
              [at, range](const std::string& text, RunOptions& options) {
                const auto value = parse_number<T>(text);
                if (!value || !range.contains(static_cast<double>(*value))) return false;
                at.of(options) = *value;
                return true;
              },
          .print = [at](const RunOptions& options) { return fmt::format("{}", at.in(options)); }};
}

}  // namespace

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

bool ValueRange::contains(double value) const {
  return (above_low ? value > low : value >= low) && (below_high ? value < high : value <= high);
}

std::string ValueRange::text() const {
  std::string result;
  if (low > -std::numeric_limits<double>::infinity())
    result = fmt::format("{} {}", above_low ? " above" : " from", low);
  if (high < std::numeric_limits<double>::infinity()) {
    result += fmt::format("{}{} {}", below_high || above_low ? "," : "", below_high ? " below" : " to", high);
  }
  return result;
}

OptionValue whole(const Field<std::int64_t>& at, ValueRange range) { return whole_number(at, range); }
OptionValue whole(const Field<int>& at, ValueRange range) { return whole_number(at, range); }

OptionValue seed(const Field<std::uint64_t>& at) {
  OptionValue value = whole_number(at, {});
  value.expected = "a whole number from 0 to 18446744073709551615";
  return value;
}

OptionValue real(const Field<double>& at, ValueRange range) {
  return {.expected = "a number" + range.text(),
          .store =
              [at, range](const std::string& text, RunOptions& options) {
                const auto value = parse_number<double>(text);
                if (!value || !range.contains(*value)) return false;
                at.of(options) = *value;
                return true;
              },
          .print = [at](const RunOptions& options) { return fmt::format("{}", at.in(options)); }};
}

OptionValue yes_no(Field<bool> at) { return choice<bool>(std::move(at), {{"true", true}, {"false", false}}); }

OptionValue text(const Field<std::string>& at, std::string expected) {
  return {.expected = std::move(expected),
          .store =
              [at](const std::string& given, RunOptions& options) {
                at.of(options) = given;
                return true;
              },
          .print = [at](const RunOptions& options) { return at.in(options); }};
}

OptionValue word(Field<std::string> at, const std::vector<std::string>& choices) {
  std::vector<std::pair<std::string, std::string>> pairs;
  pairs.reserve(choices.size());
  for (const std::string& entry : choices) pairs.emplace_back(entry, entry);
  return choice<std::string>(std::move(at), std::move(pairs));
}

OptionValue whole_or_word(const Field<std::int64_t>& at, ValueRange range, std::string word, std::int64_t meaning) {
  const OptionValue number = whole_number(at, range);
  return {.expected = fmt::format("{}, or {}", word, number.expected),
          .store =
              [=](const std::string& text, RunOptions& options) {
                if (text != word) return number.store(text, options);
                at.of(options) = meaning;
                return true;
              },
          .print = [=](const RunOptions& options) { return at.in(options) == meaning ? word : number.print(options); }};
}

OptionValue real_or_empty(const Field<double>& at, ValueRange range, double empty_meaning) {
  const OptionValue number = real(at, range);
  return {.expected = number.expected + ", or nothing",
          .store =
              [=](const std::string& text, RunOptions& options) {
                if (!text.empty()) return number.store(text, options);
                at.of(options) = empty_meaning;
                return true;
              },
          .print =
              [=](const RunOptions& options) {
                return at.in(options) == empty_meaning ? std::string() : number.print(options);
              }};
}

}  // namespace shardora
