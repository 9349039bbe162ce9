// Conversion between element types on the CPU.
#include "kernels/cpu/cpu.h"
#include "kernels/float_types.h"

namespace shardora::cpu {
namespace {

// The types stand outside of the loop, so that it is one of vectors.
template <class To, class From, class Element>
void each_element(const Convert& op, const Element& element) {
  const auto* const from = static_cast<const From*>(op.from.data);
  auto* const to = static_cast<To*>(op.to.data);
  const std::int64_t count = op.from.elements();
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < count; ++i) to[i] = element(from[i]);
}

template <class From, class Read>
void from_type(const Convert& op, const Read& read) {
  if (op.to.dtype == DType::kF32) return each_element<float, From>(op, read);
  each_element<std::uint16_t, From>(op, [read](From value) { return bf16_from_float(read(value)); });
}

}  // namespace

void convert(const Convert& op) {
  SHARDORA_CHECK(op.from.shape == op.to.shape);
  SHARDORA_CHECK(op.to.dtype == DType::kF32 || op.to.dtype == DType::kBF16);
  if (op.from.dtype == DType::kF32) return from_type<float>(op, [](float value) { return value; });
  if (op.from.dtype == DType::kBF16) return from_type<std::uint16_t>(op, float_from_bf16);
  SHARDORA_CHECK(op.from.dtype == DType::kF16);
  from_type<std::uint16_t>(op, float_from_f16);
}

}  // namespace shardora::cpu
