#include "runtime/system/printable.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace shardora {
namespace {

constexpr std::size_t kLongest = 200;  // bytes printed of one name

// Bytes of the UTF-8 character that starts the text, its code point in `point`; 0 where it is not valid.
std::size_t decode(std::string_view text, std::uint32_t& point) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) {
    point = first;
    return 1;
  }
  const std::size_t length = first >= 0xF0 && first <= 0xF4 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
  if (first > 0xF4 || length == 0 || text.size() < length) return 0;
  point = first & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
    point = point << 6 | (byte(i) & 0x3Fu);
  }
  constexpr std::array<std::uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};  // shorter forms exist below
  const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
  return point < kSmallest[length] || point > 0x10FFFF || surrogate ? 0 : length;
}

bool is_control(std::uint32_t point) {
  const bool direction = (point >= 0x200E && point <= 0x200F) || (point >= 0x202A && point <= 0x202E) ||
                         (point >= 0x2066 && point <= 0x2069);
  const bool line_end = point == 0x2028 || point == 0x2029;
  return point < 0x20 || (point >= 0x7F && point < 0xA0) || direction || line_end || point == 0xFEFF;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string safe;
  while (!text.empty()) {
    if (safe.size() > kLongest) return safe + "...";
    std::uint32_t point = 0;
    const std::size_t length = decode(text, point);
    const std::string_view piece = text.substr(0, std::max<std::size_t>(length, 1));
    text.remove_prefix(piece.size());
    if (length != 0 && !is_control(point)) {
      safe += piece;
      continue;
    }
    for (const char byte : piece) safe += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
  }
  return safe;
}

}  // namespace shardora
