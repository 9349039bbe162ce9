// JSON from outside: bounded in size and depth, no duplicate keys, valid UTF-8; and the accessors that name the file
// and the key in their errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/check.h"

namespace shardora {

struct JsonLimits {
  std::int64_t bytes = 100'000'000;
  int depth = 32;
  std::int64_t values = 10'000'000;
};
// Throws Error(kBadInput) that names `name`.
nlohmann::ordered_json parse_json(std::span<const char> text, const std::string& name, const JsonLimits& limits = {});
nlohmann::ordered_json read_json(const std::filesystem::path& path, const JsonLimits& limits = {});

// The keys of one object. Every error is Error(kBadInput) naming the file, the key, its value and what is expected.
// The object is not owned.
class JsonFields {
 public:
  JsonFields(const nlohmann::ordered_json& object, std::string where);  // throws where it is no object
  const nlohmann::ordered_json* find(std::string_view key) const;       // null where the key is absent
  bool has(std::string_view key) const;                                 // present and not null
  bool is_null(std::string_view key) const;                             // present and null
  // These refuse null, floats in place of integers, and what is out of range (which includes its ends).
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  double number(std::string_view key, double low, double high) const;
  bool boolean(std::string_view key) const;
  std::string text(std::string_view key) const;
  // Absent: the fallback, which need not be in range.
  std::int64_t integer_or(std::string_view key, std::int64_t fallback, std::int64_t low, std::int64_t high) const;
  double number_or(std::string_view key, double fallback, double low, double high) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string text_or(std::string_view key, const std::string& fallback) const;
  [[noreturn]] void refuse_value(std::string_view key, std::string_view expected) const;
  const std::string& where() const { return where_; }

 private:
  const nlohmann::ordered_json& value(std::string_view key, std::string_view expected) const;
  const nlohmann::ordered_json* object_;
  std::string where_;
};

}  // namespace shardora
