// The keys of a JSON object, with types and ranges checked.
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/formats/json.h"
#include "runtime/system/printable.h"

namespace shardora {

using nlohmann::ordered_json;

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
