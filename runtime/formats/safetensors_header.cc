// The header of a safetensors file, checked in full: what it promises about shapes and bytes is true when this returns.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/formats/json.h"
#include "runtime/formats/safetensors.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxAxes = 8;
constexpr JsonLimits kHeaderLimits = {.bytes = 100'000'000, .depth = 3, .values = 10'000'000};

// Says of one tensor of one file what is wrong with it.
struct Place {
  const std::string& file;
  const std::string& tensor;
  template <class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    shardora::refuse(ExitStatus::kBadInput, "{}: tensor '{}' {}", printable(file), printable(tensor),
                     fmt::format(format, std::forward<Arguments>(arguments)...));
  }
};

// A whole number of at least 0. Floats and negative numbers, also 1.0 and -0, are refused as the reference does.
std::int64_t count(const ordered_json& value, const char* key, const Place& place) {
  if (!value.is_number_unsigned() || !std::in_range<std::int64_t>(value.get<std::uint64_t>())) {
    place.refuse("has {} in its {}, expected integers of 0 or more below 2^63", printable(value.dump()), key);
  }
  return value.get<std::int64_t>();
}

// The product of the sizes that are not 0 must fit as well: whoever multiplies in another order meets no overflow.
std::int64_t tensor_bytes(const TensorEntry& entry, const Place& place) {
  std::int64_t product = safetensors_element_bytes(entry.dtype);
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    if (size == 0) {
      empty = true;
    } else if (product > std::numeric_limits<std::int64_t>::max() / size) {
      place.refuse("has a shape of more than 2^63 bytes");
    } else {
      product *= size;
    }
  }
  return empty ? 0 : product;
}

const ordered_json& field(const JsonFields& fields, const char* key, const Place& place) {
  const ordered_json* found = fields.find(key);
  if (found == nullptr) place.refuse("has no {}", key);
  return *found;
}

TensorEntry parse_entry(const ordered_json& value, const Place& place) {
  if (!value.is_object() || value.size() != 3) place.refuse("is not an object of dtype, shape and data_offsets");
  const JsonFields fields(value, place.file);
  TensorEntry entry;

  const ordered_json& dtype = field(fields, "dtype", place);
  if (dtype.is_string()) entry.dtype = dtype.get<std::string>();
  if (safetensors_element_bytes(entry.dtype) == 0) place.refuse("has the unknown dtype {}", printable(dtype.dump()));

  const ordered_json& shape = field(fields, "shape", place);
  if (!shape.is_array() || shape.size() > kMaxAxes) place.refuse("has no list of at most {} sizes as shape", kMaxAxes);
  for (const ordered_json& size : shape) entry.shape.push_back(count(size, "shape", place));

  const ordered_json& offsets = field(fields, "data_offsets", place);
  if (!offsets.is_array() || offsets.size() != 2) place.refuse("has no pair of numbers as data_offsets");
  entry.begin = count(offsets[0], "data_offsets", place);
  entry.end = count(offsets[1], "data_offsets", place);

  const std::int64_t bytes = tensor_bytes(entry, place);
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    place.refuse("lies at bytes {} to {}, but its shape and dtype take {} bytes", entry.begin, entry.end, bytes);
  }
  return entry;
}

// In the order of their offsets the tensors must fill the data section, without overlap and without a hole: a hole
// could hide a second file, an overlap makes one tensor's bytes another's.
void require_seamless(const SafetensorsHeader& header, std::int64_t data_bytes, const std::string& file) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> ordered;
  ordered.reserve(header.tensors.size());
  for (const auto& [name, entry] : header.tensors) ordered.emplace_back(&name, &entry);
  std::sort(ordered.begin(), ordered.end(), [](const auto& left, const auto& right) {
    return std::pair(left.second->begin, left.second->end) < std::pair(right.second->begin, right.second->end);
  });
  std::int64_t expected = 0;
  for (const auto& [name, entry] : ordered) {
    if (entry->begin != expected) {
      Place{file, *name}.refuse("starts at byte {}, expected {}: tensors must neither overlap nor leave holes",
                                entry->begin, expected);
    }
    expected = entry->end;
  }
  if (expected != data_bytes) {
    refuse(ExitStatus::kBadInput, "{}: its tensors take {} bytes, but {} follow the header; copy the file again",
           printable(file), expected, data_bytes);
  }
}

}  // namespace

std::int64_t safetensors_element_bytes(const std::string& dtype) {
  static const std::map<std::string, std::int64_t> kTypes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
      {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"F64", 8},     {"I64", 8}, {"U64", 8}};
  const auto found = kTypes.find(dtype);
  return found == kTypes.end() ? 0 : found->second;
}

SafetensorsHeader parse_safetensors_header(std::span<const char> json, std::int64_t data_bytes,
                                           const std::string& name) {
  SHARDORA_CHECK(data_bytes >= 0);
  if (json.empty() || json.front() != '{') {
    refuse(ExitStatus::kBadInput, "{}: its header does not start with '{{'; it is not a safetensors file",
           printable(name));
  }
  const ordered_json document = parse_json(json, name, kHeaderLimits);
  SafetensorsHeader header;
  for (const auto& [key, value] : document.items()) {
    if (key != "__metadata__") {
      header.tensors.emplace(key, parse_entry(value, {name, key}));
      continue;
    }
    if (!value.is_object()) refuse(ExitStatus::kBadInput, "{}: __metadata__ is not an object", printable(name));
    for (const auto& [item, text] : value.items()) {
      if (!text.is_string()) {
        refuse(ExitStatus::kBadInput, "{}: '{}' in __metadata__ is not a string", printable(name), printable(item));
      }
      header.metadata.emplace(item, text.get<std::string>());
    }
  }
  require_seamless(header, data_bytes, name);
  return header;
}

}  // namespace shardora
