// Stored floats as fp32, on the host.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace shardora {

// F32, BF16, F16 (exactly) and F64 (rounded to nearest) as fp32 bytes; false for other types.
bool convert_to_f32(const std::string& dtype, std::span<const std::byte> bytes, std::vector<std::byte>& out);

}  // namespace shardora
