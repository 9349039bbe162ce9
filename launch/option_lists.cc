// Values that are lists: comma-separated, blanks around an item do not count, an empty text is an empty list.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "launch/option_values.h"

namespace shardora {
namespace {

template <class Item>
using ParseItem = std::function<std::optional<Item>(const std::string&)>;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> items;
  if (trimmed(text).empty()) return items;
  std::size_t start = 0;
  for (std::size_t comma = text.find(','); comma != std::string::npos; comma = text.find(',', start)) {
    items.push_back(trimmed(std::string_view(text).substr(start, comma - start)));
    start = comma + 1;
  }
  items.push_back(trimmed(std::string_view(text).substr(start)));
  return items;
}

template <class Item>
std::function<bool(const std::string&, RunOptions&)> store_list(Field<std::vector<Item>> at, ParseItem<Item> parse) {
  return [at, parse](const std::string& text, RunOptions& options) {
    std::vector<Item> items;
    for (const std::string& part : split(text)) {
      std::optional<Item> item = part.empty() ? std::nullopt : parse(part);
      if (!item) return false;
      items.push_back(std::move(*item));
    }
    at.of(options) = std::move(items);
    return true;
  };
}

template <class Item, class Print>
std::function<std::string(const RunOptions&)> print_list(Field<std::vector<Item>> at, Print print) {
  return [at, print](const RunOptions& options) {
    std::string text;
    for (const Item& item : at.in(options)) text += (text.empty() ? "" : ", ") + print(item);
    return text;
  };
}

constexpr std::int64_t kMostLayers = 100'000;

// "4" or "4-7", appended; false where it is neither.
bool append_layers(const std::string& part, std::vector<std::int64_t>& layers) {
  const std::size_t dash = part.find('-');
  const auto first = parse_number<std::int64_t>(trimmed(std::string_view(part).substr(0, dash)));
  const auto last =
      dash == std::string::npos ? first : parse_number<std::int64_t>(trimmed(std::string_view(part).substr(dash + 1)));
  if (!first || !last || *first < 0 || *last < *first || *last >= kMostLayers) return false;
  for (std::int64_t layer = *first; layer <= *last; ++layer) layers.push_back(layer);
  return true;
}

// A regular expression may hold commas and colons itself, so an entry ends only where ":number" meets a comma or the
// end.
template <class Number>
std::optional<std::vector<std::pair<std::string, Number>>> parse_pattern(const std::string& text) {
  std::vector<std::pair<std::string, Number>> entries;
  std::string pending;
  for (const std::string& part : split(text)) {
    pending += pending.empty() ? part : "," + part;
    const std::size_t colon = pending.rfind(':');
    if (colon == std::string::npos || colon == 0) continue;
    const auto value = parse_number<Number>(trimmed(std::string_view(pending).substr(colon + 1)));
    if (!value) continue;
    if (*value <= 0 || *value > 65536) return std::nullopt;
    entries.emplace_back(trimmed(std::string_view(pending).substr(0, colon)), *value);
    pending.clear();
  }
  if (!pending.empty()) return std::nullopt;
  return entries;
}

template <class Number>
OptionValue pattern(Field<std::vector<std::pair<std::string, Number>>> at, std::string number) {
  return {.expected = fmt::format("regex:value, … with {} as value", number),
          .store =
              [at](const std::string& text, RunOptions& options) {
                auto entries = parse_pattern<Number>(text);
                if (!entries) return false;
                at.of(options) = std::move(*entries);
                return true;
              },
          .print = print_list<std::pair<std::string, Number>>(
              at, [](const auto& entry) { return fmt::format("{}:{}", entry.first, entry.second); })};
}

std::optional<DataSource> parse_share(const std::string& part) {
  const std::size_t colon = part.rfind(':');
  if (colon == std::string::npos) return DataSource{.name = "", .path = part};
  const auto share = parse_number<double>(trimmed(std::string_view(part).substr(colon + 1)));
  if (!share) return DataSource{.name = "", .path = part};  // a colon of the path's own
  if (*share <= 0 || colon == 0) return std::nullopt;
  return DataSource{.name = "", .path = trimmed(std::string_view(part).substr(0, colon)), .share = *share};
}

bool is_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
}

std::optional<DataSource> parse_named(const std::string& part) {
  const std::size_t equals = part.find('=');
  const std::string name = equals == std::string::npos ? "" : trimmed(std::string_view(part).substr(0, equals));
  if (!is_name(name)) return DataSource{.name = "", .path = part};  // an equals sign of the path's own
  const std::string path = trimmed(std::string_view(part).substr(equals + 1));
  if (path.empty()) return std::nullopt;
  return DataSource{.name = name, .path = path};
}

// Several sets are told apart by their names.
bool has_distinct_names(const std::vector<DataSource>& sources) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources.size() > 1 && sources[i].name.empty()) return false;
    for (std::size_t j = 0; j < i; ++j) {
      if (sources[i].name == sources[j].name) return false;
    }
  }
  return true;
}

}  // namespace

OptionValue names(const Field<std::vector<std::string>>& at) {
  return {.expected = "names, separated by commas",
          .store = store_list<std::string>(at, [](const std::string& part) { return std::optional(part); }),
          .print = print_list<std::string>(at, [](const std::string& name) { return name; })};
}

OptionValue token_ids(const Field<std::vector<std::int64_t>>& at) {
  constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();
  return {.expected = fmt::format("token ids from 0 to {}, separated by commas", kMostTokens),
          .store = store_list<std::int64_t>(at,
                                            [](const std::string& part) {
                                              auto id = parse_number<std::int64_t>(part);
                                              if (id && (*id < 0 || *id > kMostTokens)) id.reset();
                                              return id;
                                            }),
          .print = print_list<std::int64_t>(at, [](std::int64_t id) { return fmt::format("{}", id); })};
}

OptionValue layer_numbers(const Field<std::vector<std::int64_t>>& at) {
  return {.expected = "layer numbers and ranges from 0, as in 0-7,12",
          .store =
              [at](const std::string& text, RunOptions& options) {
                std::vector<std::int64_t> layers;
                for (const std::string& part : split(text)) {
                  if (!append_layers(part, layers)) return false;
                }
                std::sort(layers.begin(), layers.end());
                layers.erase(std::unique(layers.begin(), layers.end()), layers.end());
                at.of(options) = std::move(layers);
                return true;
              },
          .print = print_list<std::int64_t>(at, [](std::int64_t layer) { return fmt::format("{}", layer); })};
}

OptionValue rank_pattern(Field<std::vector<std::pair<std::string, std::int64_t>>> at) {
  return pattern<std::int64_t>(std::move(at), "a whole number from 1 to 65536");
}

OptionValue alpha_pattern(Field<std::vector<std::pair<std::string, double>>> at) {
  return pattern<double>(std::move(at), "a number above 0, to 65536");
}

OptionValue training_sources(const Field<std::vector<DataSource>>& at) {
  return {.expected = "a dataset file, or file:share, file:share with shares above 0",
          .store = store_list<DataSource>(at, parse_share),
          .print = [at](const RunOptions& options) {
            const std::vector<DataSource>& sources = at.in(options);
            if (sources.size() == 1 && sources[0].share == 1) return sources[0].path;
            return print_list<DataSource>(
                at, [](const DataSource& source) { return fmt::format("{}:{}", source.path, source.share); })(options);
          }};
}

OptionValue evaluation_sources(const Field<std::vector<DataSource>>& at) {
  const auto store = store_list<DataSource>(at, parse_named);
  return {.expected = "a dataset file, or name=file, name=file with distinct names",
          .store =
              [at, store](const std::string& text, RunOptions& options) {
                RunOptions trial = options;
                if (!store(text, trial) || !has_distinct_names(at.in(trial))) return false;
                options = std::move(trial);
                return true;
              },
          .print = print_list<DataSource>(at, [](const DataSource& source) {
            return source.name.empty() ? source.path : fmt::format("{}={}", source.name, source.path);
          })};
}

}  // namespace shardora
