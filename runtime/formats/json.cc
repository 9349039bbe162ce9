// A JSON reader for files from outside: nlohmann's parser feeds a builder that enforces the limits.
#include "runtime/formats/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "runtime/system/files.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

// Builds the value, and refuses it at the first limit that it breaks: nlohmann itself bounds nothing and lets the last
// of several equal keys win.
class Builder final : public nlohmann::json_sax<ordered_json> {
 public:
  Builder(const std::string& name, const JsonLimits& limits) : name_(name), limits_(limits) {}
  ordered_json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in JSON
  bool start_object(std::size_t) override { return open(ordered_json::object()); }
  bool start_array(std::size_t) override { return open(ordered_json::array()); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }
  bool end_object() override {
    require_unique_keys();
    return close();
  }
  bool parse_error(std::size_t position, const std::string& last, const nlohmann::json::exception&) override {
    refuse(ExitStatus::kBadInput, "{}: is not valid JSON at byte {}, near '{}'", name_, position, printable(last));
  }

 private:
  bool add(ordered_json&& value) { return place(std::move(value)) != nullptr; }

  bool open(ordered_json&& empty) {
    open_.push_back(place(std::move(empty)));
    if (std::ssize(open_) > limits_.depth) {
      refuse(ExitStatus::kBadInput, "{}: JSON is nested deeper than {} levels", name_, limits_.depth);
    }
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  ordered_json* place(ordered_json&& value) {
    if (++values_ > limits_.values) {
      refuse(ExitStatus::kBadInput, "{}: JSON holds more than {} values", name_, limits_.values);
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) return &open_.back()->emplace_back(std::move(value));
    // As a vector: a search for the key at each insertion would take quadratic time.
    auto& members = open_.back()->get_ref<ordered_json::object_t&>();
    return &members.emplace_back(std::move(key_), std::move(value)).second;
  }

  void require_unique_keys() const {
    const auto& members = open_.back()->get_ref<const ordered_json::object_t&>();
    std::vector<std::string_view> keys;
    keys.reserve(members.size());
    for (const auto& [key, value] : members) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return;
    refuse(ExitStatus::kBadInput, "{}: key '{}' occurs twice in one object", name_, printable(*twice));
  }

  const std::string& name_;
  const JsonLimits& limits_;
  ordered_json root_;
  std::vector<ordered_json*> open_;  // the objects and arrays around the next value
  std::string key_;
  std::int64_t values_ = 0;
};

}  // namespace

ordered_json parse_json(std::span<const char> text, const std::string& name, const JsonLimits& limits) {
  const std::string safe_name = printable(name);
  if (std::ssize(text) > limits.bytes) {
    refuse(ExitStatus::kBadInput, "{}: has {} bytes of JSON, at most {} are expected", safe_name, text.size(),
           limits.bytes);
  }
  // nlohmann takes a zero byte for the end of the text, and skips a byte order mark; other readers do neither.
  if (std::find(text.begin(), text.end(), '\0') != text.end()) {
    refuse(ExitStatus::kBadInput, "{}: is not valid JSON: it holds a zero byte", safe_name);
  }
  if (std::string_view(text.data(), text.size()).starts_with("\xEF\xBB\xBF")) {
    refuse(ExitStatus::kBadInput, "{}: starts with a byte order mark; save it as plain UTF-8", safe_name);
  }
  Builder builder(safe_name, limits);
  ordered_json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

ordered_json read_json(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_text(path, limits.bytes, Links::kWithinFolder), path.string(), limits);
}

// The keys of a JSON object, with types and ranges checked.

JsonFields::JsonFields(const ordered_json& object, std::string where) : object_(&object), where_(std::move(where)) {
  if (!object.is_object()) refuse(ExitStatus::kBadInput, "{}: a JSON object is expected", where_);
}

const ordered_json* JsonFields::find(std::string_view key) const {
  const auto found = object_->find(std::string(key));
  return found == object_->end() ? nullptr : &*found;
}

bool JsonFields::has(std::string_view key) const {
  const ordered_json* found = find(key);
  return found != nullptr && !found->is_null();
}

bool JsonFields::is_null(std::string_view key) const {
  const ordered_json* found = find(key);
  return found != nullptr && found->is_null();
}

void JsonFields::refuse_value(std::string_view key, std::string_view expected) const {
  const ordered_json* found = find(key);
  refuse(ExitStatus::kBadInput, "{}: {} is {}, expected {}", where_, printable(key),
         found == nullptr ? "missing" : printable(found->dump()), expected);
}

const ordered_json& JsonFields::value(std::string_view key, std::string_view expected) const {
  const ordered_json* found = find(key);
  if (found == nullptr) refuse_value(key, expected);
  return *found;
}

std::int64_t JsonFields::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const std::string expected = fmt::format("an integer from {} to {}", low, high);
  const ordered_json& found = value(key, expected);
  const bool fits =
      found.is_number_unsigned() ? std::in_range<std::int64_t>(found.get<std::uint64_t>()) : found.is_number_integer();
  if (!fits) refuse_value(key, expected);
  const auto number = found.get<std::int64_t>();
  if (number < low || number > high) refuse_value(key, expected);
  return number;
}

double JsonFields::number(std::string_view key, double low, double high) const {
  const std::string expected = fmt::format("a number from {} to {}", low, high);
  const ordered_json& found = value(key, expected);
  if (!found.is_number()) refuse_value(key, expected);
  const auto number = found.get<double>();
  if (!(number >= low && number <= high)) refuse_value(key, expected);
  return number;
}

bool JsonFields::boolean(std::string_view key) const {
  const ordered_json& found = value(key, "true or false");
  if (!found.is_boolean()) refuse_value(key, "true or false");
  return found.get<bool>();
}

std::string JsonFields::text(std::string_view key) const {
  const ordered_json& found = value(key, "a string");
  if (!found.is_string()) refuse_value(key, "a string");
  return found.get<std::string>();
}

std::int64_t JsonFields::integer_or(std::string_view key, std::int64_t fallback, std::int64_t low,
                                    std::int64_t high) const {
  return find(key) == nullptr ? fallback : integer(key, low, high);
}

double JsonFields::number_or(std::string_view key, double fallback, double low, double high) const {
  return find(key) == nullptr ? fallback : number(key, low, high);
}

bool JsonFields::boolean_or(std::string_view key, bool fallback) const {
  return find(key) == nullptr ? fallback : boolean(key);
}

std::string JsonFields::text_or(std::string_view key, const std::string& fallback) const {
  return find(key) == nullptr ? fallback : text(key);
}

}  // namespace shardora
