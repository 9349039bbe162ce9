#include "kernels/cpu/convert.h"

#include "kernels/cpu/cpu.h"
#include "kernels/float_types.h"

namespace shardora::cpu {

void convert(const Convert& op) {
  SHARDORA_CHECK(op.from.shape == op.to.shape);
  SHARDORA_CHECK(op.to.dtype == DType::kF32 || op.to.dtype == DType::kBF16);
  const std::int64_t count = op.from.elements();
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = element_as_float(op.from, i);
    if (op.to.dtype == DType::kF32) {
      static_cast<float*>(op.to.data)[i] = value;
    } else {
      static_cast<std::uint16_t*>(op.to.data)[i] = bf16_from_float(value);
    }
  }
}

}  // namespace shardora::cpu
