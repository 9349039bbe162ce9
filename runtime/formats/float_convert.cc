// Conversions of whole host tensors, element by element.
#include "runtime/formats/float_convert.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace shardora {
namespace {

float from_half(std::uint16_t bits) {
  const float sign = (bits & 0x8000u) != 0 ? -1.0f : 1.0f;
  const int exponent = bits >> 10 & 0x1F;
  const int fraction = bits & 0x3FF;
  if (exponent == 0x1F) return fraction == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(fraction + 0x400), exponent - 25);
}

float from_bfloat(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

template <class Stored, class Convert>
void convert(std::span<const std::byte> bytes, std::vector<std::byte>& out, Convert to_float) {
  const std::size_t count = bytes.size() / sizeof(Stored);
  out.resize(count * sizeof(float));
  for (std::size_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    const float value = to_float(stored);
    std::memcpy(out.data() + i * sizeof(float), &value, sizeof(float));
  }
}

}  // namespace

bool convert_to_f32(const std::string& dtype, std::span<const std::byte> bytes, std::vector<std::byte>& out) {
  if (dtype == "F32") {
    out.assign(bytes.begin(), bytes.end());
  } else if (dtype == "BF16") {
    convert<std::uint16_t>(bytes, out, from_bfloat);
  } else if (dtype == "F16") {
    convert<std::uint16_t>(bytes, out, from_half);
  } else if (dtype == "F64") {
    convert<double>(bytes, out, [](double value) { return static_cast<float>(value); });
  } else {
    return false;
  }
  return true;
}

}  // namespace shardora
