// The types of option values: what text each accepts, how it is described to the user, and how it is printed so that
// reading the print gives the value again. Each is bound to the field that it sets. For option_table.cc.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "launch/options.h"
#include "runtime/formats/config_file.h"

namespace shardora {

struct ValueRange {
  double low = 0, high = std::numeric_limits<double>::infinity();
  bool above_low = false, below_high = false;  // the bounds themselves do not belong to it

  bool contains(double value) const {
    return (above_low ? value > low : value >= low) && (below_high ? value < high : value <= high);
  }
  std::string text() const {  // "from 0, below 1"
    std::string text = fmt::format("{} {}", above_low ? "above" : "from", low);
    if (high == std::numeric_limits<double>::infinity()) return text;
    return text + fmt::format("{} {} {}", above_low || below_high ? "," : "", below_high ? "below" : "to", high);
  }
};

// The whole text as a number; none where anything is left over, or where it is not in the range or not finite.
template <class T>
std::optional<T> parse_number(std::string_view text, const ValueRange& range) {
  T value{};
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  const bool finite = value >= std::numeric_limits<T>::lowest() && value <= std::numeric_limits<T>::max();
  return finite && range.contains(static_cast<double>(value)) ? std::optional(value) : std::nullopt;
}

// parse: the text's value, if it is one.
template <class T, class Parse, class Print>
OptionValue bound(T& at, std::string expected, Parse parse, Print print) {
  return {.expected = std::move(expected),
          .store =
              [&at, parse](const std::string& text) {
                std::optional<T> value = parse(text);
                if (value) at = std::move(*value);
                return value.has_value();
              },
          .print = [&at, print] { return std::string(print(at)); }};
}

template <class T>
OptionValue number(T& at, ValueRange range) {
  std::string expected = (std::is_integral_v<T> ? "a whole number " : "a number ") + range.text();
  if (std::is_same_v<T, std::uint64_t>) expected = "a whole number from 0 to 18446744073709551615";
  return bound(
      at, expected, [range](const std::string& text) { return parse_number<T>(text, range); },
      [](T value) { return fmt::format("{}", value); });
}

// A number, or a word that stands for a value out of its range.
template <class T>
OptionValue number_or(T& at, ValueRange range, const std::string& word, T meaning) {
  const OptionValue plain = number(at, range);
  return {.expected = word.empty() ? plain.expected + ", or nothing" : word + ", or " + plain.expected,
          .store =
              [=, &at](const std::string& text) {
                if (text != word) return plain.store(text);
                at = meaning;
                return true;
              },
          .print = [=, &at] { return at == meaning ? word : plain.print(); }};
}

// One word for each value.
template <class T>
OptionValue choice(T& at, const std::vector<std::pair<std::string, T>>& choices) {
  std::string expected;
  for (const auto& [word, value] : choices) expected += (expected.empty() ? "one of " : ", ") + word;
  const auto parse = [choices](const std::string& text) {
    std::optional<T> found;
    for (const auto& [word, value] : choices) {
      if (word == text) found = value;
    }
    return found;
  };
  return bound(at, expected, parse, [choices](const T& given) {
    std::string found;
    for (const auto& [word, value] : choices) {
      if (value == given) found = word;
    }
    return found;
  });
}

inline OptionValue word(std::string& at, const std::vector<std::string>& words) {
  std::vector<std::pair<std::string, std::string>> choices;
  for (const std::string& one : words) choices.emplace_back(one, one);
  return choice(at, choices);
}

inline OptionValue yes_no(bool& at) { return choice<bool>(at, {{"true", true}, {"false", false}}); }

inline OptionValue text(std::string& at, std::string expected) {
  const auto same = [](const std::string& text) { return text; };
  return bound(at, std::move(expected), same, same);
}

// A list, separated by commas. Blanks around an item do not count; an empty text is an empty list.
//   append(part, items)  adds the items in a part of the text; false where it is not as expected
//   finish(items)        false where they do not fit together
constexpr auto kAnyItems = [](const auto&) { return true; };
constexpr auto kPlain = [](const auto& item) { return fmt::format("{}", item); };
template <class Item, class Append, class Finish = decltype(kAnyItems), class Print = decltype(kPlain)>
OptionValue list(std::vector<Item>& at, std::string expected, Append append, Finish finish = kAnyItems,
                 Print print = kPlain) {
  using Items = std::vector<Item>;
  const auto parse = [append, finish](const std::string& text) -> std::optional<Items> {
    Items items;
    for (std::size_t start = 0; !text.empty() && start <= text.size();) {
      const std::size_t comma = std::min(text.find(',', start), text.size());
      if (!append(trimmed(std::string_view(text).substr(start, comma - start)), items)) return std::nullopt;
      start = comma + 1;
    }
    return finish(items) ? std::optional(std::move(items)) : std::nullopt;
  };
  return bound(at, std::move(expected), parse, [print](const Items& items) {
    std::vector<std::string> texts;
    for (const Item& item : items) texts.push_back(print(item));
    return fmt::format("{}", fmt::join(texts, ", "));
  });
}

inline OptionValue names(std::vector<std::string>& at) {
  const auto append = [](const std::string& part, auto& items) {
    items.push_back(part);
    return !part.empty();
  };
  return list(at, "names, separated by commas", append);
}

inline OptionValue token_ids(std::vector<std::int64_t>& at) {
  constexpr ValueRange kTokens{.high = std::numeric_limits<std::int32_t>::max()};
  const auto append = [kTokens](const std::string& part, auto& ids) {
    const auto id = parse_number<std::int64_t>(part, kTokens);
    if (id) ids.push_back(*id);
    return id.has_value();
  };
  return list(at, fmt::format("token ids {}, separated by commas", kTokens.text()), append);
}

// What stands before and after a separator; all of it, and nothing, where the separator is missing.
inline std::pair<std::string, std::string> cut(const std::string& text, std::size_t at) {
  if (at == std::string::npos) return {text, {}};
  return {trimmed(std::string_view(text).substr(0, at)), trimmed(std::string_view(text).substr(at + 1))};
}

inline OptionValue layer_numbers(std::vector<std::int64_t>& at) {
  const auto append = [](const std::string& part, std::vector<std::int64_t>& layers) {
    const bool one = part.find('-') == std::string::npos;
    const auto [left, right] = cut(part, part.find('-'));
    const auto first = parse_number<std::int64_t>(left, {0, 99'999});
    const auto last = parse_number<std::int64_t>(one ? left : right, {0, 99'999});
    if (!first || !last || *last < *first) return false;
    for (std::int64_t layer = *first; layer <= *last; ++layer) layers.push_back(layer);
    return true;
  };
  const auto finish = [](std::vector<std::int64_t>& layers) {
    std::sort(layers.begin(), layers.end());
    layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
    return true;
  };
  return list(at, "layer numbers and ranges from 0, as in 0-7,12", append, finish);
}

// A regular expression may hold commas and colons itself, so an entry ends only where ":number" meets a comma or the
// end. Until then its number is 0.
template <class Number>
OptionValue pattern(std::vector<std::pair<std::string, Number>>& at, const std::string& number) {
  const auto append = [](const std::string& part, auto& entries) {
    if (!entries.empty() && entries.back().second == 0) {
      entries.back().first += "," + part;
    } else if (!part.empty()) {
      entries.emplace_back(part, 0);
    } else {
      return true;
    }
    auto& [text, value] = entries.back();
    const std::size_t colon = text.rfind(':');
    const auto [regex, digits] = cut(text, colon);
    const auto given = parse_number<Number>(digits, {-std::numeric_limits<double>::infinity()});
    if (!given || colon == 0) return true;
    value = *given;
    text = regex;
    return value > 0 && value <= 65536;
  };
  const auto finish = [](const auto& entries) { return entries.empty() || entries.back().second != 0; };
  return list(at, fmt::format("regex:value, … with {} as value", number), append, finish,
              [](const auto& entry) { return fmt::format("{}:{}", entry.first, entry.second); });
}

// file, or file:share, file:share
inline OptionValue training_sources(std::vector<DataSource>& at) {
  // Without a number it is a colon of the path's own.
  const auto share_of = [](const std::string& part) {
    return parse_number<double>(cut(part, part.rfind(':')).second, {-std::numeric_limits<double>::infinity()});
  };
  const auto append = [share_of](const std::string& part, std::vector<DataSource>& sources) {
    const auto share = share_of(part);
    const std::string path = share ? cut(part, part.rfind(':')).first : part;
    sources.push_back({.name = "", .path = path, .share = share.value_or(1)});
    return !path.empty() && sources.back().share > 0;
  };
  OptionValue value = list(at, "a dataset file, or file:share, file:share with shares above 0", append, kAnyItems,
                           [](const auto& one) { return fmt::format("{}:{}", one.path, one.share); });
  const auto print = value.print;
  value.print = [&at, print, share_of] {
    const bool alone = at.size() == 1 && at[0].share == 1 && !share_of(at[0].path);
    return alone ? at[0].path : print();
  };
  return value;
}

// file, or name=file, name=file
inline OptionValue evaluation_sources(std::vector<DataSource>& at) {
  const auto append = [](const std::string& part, std::vector<DataSource>& sources) {
    const auto in_names = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.'; };
    const auto [name, path] = cut(part, part.find('='));
    // Without a name before it, it is an equals sign of the path's own.
    const bool named = name != part && !name.empty() && std::all_of(name.begin(), name.end(), in_names);
    sources.push_back({.name = named ? name : "", .path = named ? path : part});
    return !sources.back().path.empty();
  };
  const auto are_told_apart = [](const std::vector<DataSource>& sources) {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (sources.size() > 1 && sources[i].name.empty()) return false;
      for (std::size_t j = 0; j < i; ++j) {
        if (sources[i].name == sources[j].name) return false;
      }
    }
    return true;
  };
  return list(at, "a dataset file, or name=file, name=file with distinct names", append, are_told_apart,
              [](const auto& one) { return one.name.empty() ? one.path : one.name + "=" + one.path; });
}

}  // namespace shardora
