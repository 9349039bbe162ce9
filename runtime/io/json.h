// JSON from outside: bounded in size and depth, no duplicate keys, valid UTF-8; and the accessors that name the file
// and the key in their errors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>

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

// Control characters and invalid bytes of a name from a file, made safe to print, and cut to a readable length.
std::string printable(std::string_view text);

}  // namespace shardora
