// AdamW on the CPU, element by element.
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {

void LevelLoops::adamw(const AdamW& op) {
  const std::int64_t n = op.value.elements();
  SHARDORA_CHECK(op.gradient.elements() == n && op.moment1.elements() == n && op.moment2.elements() == n);
  SHARDORA_CHECK(op.step >= 1);
  const formulas::AdamWScalars scalars = formulas::adamw_scalars(op.learning_rate, op.beta1, op.beta2, op.epsilon,
                                                                 op.weight_decay, op.step, op.gradient_scale);
  const auto* gradient = op.gradient.as<float>();
  auto* value = op.value.as<float>();
  auto* moment1 = op.moment1.as<float>();
  auto* moment2 = op.moment2.as<float>();
  for_each_element(n, [=](std::int64_t i) { formulas::adamw(scalars, gradient[i], value[i], moment1[i], moment2[i]); });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
