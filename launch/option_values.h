// The types of option values: what text each accepts, how it is told to the user, and how it is printed so that
// reading the print gives the value again.
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/options.h"

namespace shardora {

struct OptionValue {
  std::string expected;  // "a whole number from 1 to 65536"
  // False where the text is not what is expected; the options are then as they were.
  std::function<bool(const std::string& text, RunOptions& options)> store;
  std::function<std::string(const RunOptions& options)> print;
};

// A field of RunOptions, named by a function that finds it: field([](auto& o) -> auto& { return o.train.steps; }).
template <class T>
struct Field {
  std::function<T&(RunOptions&)> of;
  const T& in(const RunOptions& options) const { return of(const_cast<RunOptions&>(options)); }
};
template <class Find>
auto field(Find find) {
  using T = std::remove_reference_t<decltype(find(std::declval<RunOptions&>()))>;
  return Field<T>{[find](RunOptions& options) -> T& { return find(options); }};
}

// The whole text as a number; none where anything is left over, or where it does not fit the type or is not finite.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    if (!(value >= std::numeric_limits<T>::lowest() && value <= std::numeric_limits<T>::max())) return std::nullopt;
  }
  return value;
}

struct ValueRange {
  double low = 0, high = std::numeric_limits<double>::infinity();
  bool above_low = false, below_high = false;  // the bounds themselves do not belong to it
  bool contains(double value) const;
  std::string text() const;  // "from 0, below 1"
};

OptionValue whole(const Field<std::int64_t>& at, ValueRange range);
OptionValue whole(const Field<int>& at, ValueRange range);
OptionValue seed(const Field<std::uint64_t>& at);
OptionValue real(const Field<double>& at, ValueRange range);
OptionValue yes_no(Field<bool> at);
OptionValue text(const Field<std::string>& at, std::string expected);
OptionValue word(Field<std::string> at, const std::vector<std::string>& choices);
OptionValue names(const Field<std::vector<std::string>>& at);

// One word for each value of an enumeration.
template <class Enumeration>
OptionValue choice(Field<Enumeration> at, std::vector<std::pair<std::string, Enumeration>> choices) {
  OptionValue value;
  for (const auto& entry : choices) value.expected += (value.expected.empty() ? "" : ", ") + entry.first;
  value.expected = "one of " + value.expected;
  value.store = [at, choices](const std::string& text, RunOptions& options) {
    for (const auto& [name, meaning] : choices) {
      if (text != name) continue;
      at.of(options) = meaning;
      return true;
    }
    return false;
  };
  value.print = [at, choices](const RunOptions& options) {
    for (const auto& [name, meaning] : choices) {
      if (meaning == at.in(options)) return name;
    }
    return std::string();
  };
  return value;
}

// The forms that only one or two keys have.
OptionValue whole_or_word(const Field<std::int64_t>& at, ValueRange range, std::string word, std::int64_t meaning);
OptionValue real_or_empty(const Field<double>& at, ValueRange range, double empty_meaning);
OptionValue layer_numbers(const Field<std::vector<std::int64_t>>& at);  // 0-7,12
OptionValue token_ids(const Field<std::vector<std::int64_t>>& at);
OptionValue rank_pattern(Field<std::vector<std::pair<std::string, std::int64_t>>> at);  // regex:value, …
OptionValue alpha_pattern(Field<std::vector<std::pair<std::string, double>>> at);
OptionValue training_sources(const Field<std::vector<DataSource>>& at);    // file, or file:share, file:share
OptionValue evaluation_sources(const Field<std::vector<DataSource>>& at);  // file, or name=file, name=file

std::string trimmed(std::string_view text);

}  // namespace shardora
