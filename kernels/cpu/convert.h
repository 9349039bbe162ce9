// Half-width floats to fp32; every value of theirs is one of ours.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/tensor.h"

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

inline float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

inline float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7FFFU;
  if (magnitude >= 0x7C00U) return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13);
  // Read as fp32 the exponent is 112 too small; a multiplication mends that, subnormals included, and is exact.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

inline float element_as_float(const TensorView& view, std::int64_t i) {
  switch (view.dtype) {
    case DType::kBF16:
      return from_bf16(static_cast<const std::uint16_t*>(view.data)[i]);
    case DType::kF16:
      return from_f16(static_cast<const std::uint16_t*>(view.data)[i]);
    default:
      return view.as<float>()[i];
  }
}

}  // namespace
}  // namespace shardora::cpu
