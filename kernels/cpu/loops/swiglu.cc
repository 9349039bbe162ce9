// SwiGLU on the CPU, element by element.
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/cpu/loops/vector_math.h"
#include "kernels/formulas.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

SHARDORA_INLINE float sigmoid(float x) { return 1.0F / (1.0F + fast_exp(-x)); }

}  // namespace

void LevelLoops::swiglu_forward(const SwigluForward& op) {
  SHARDORA_CHECK(op.up.shape == op.gate.shape && op.y.shape == op.gate.shape);
  const auto* gate = op.gate.as<float>();
  const auto* up = op.up.as<float>();
  auto* y = op.y.as<float>();
  for_each_element(op.y.elements(), [=](std::int64_t i) { y[i] = formulas::swiglu(gate[i], up[i], sigmoid(gate[i])); });
}

void LevelLoops::swiglu_backward(const SwigluBackward& op) {
  SHARDORA_CHECK(op.gate.shape == op.dy.shape && op.up.shape == op.dy.shape);
  SHARDORA_CHECK(op.dgate.shape == op.dy.shape && op.dup.shape == op.dy.shape && op.dgate.data != op.dup.data);
  const auto* dy = op.dy.as<float>();
  const auto* gate = op.gate.as<float>();
  const auto* up = op.up.as<float>();
  auto* dgate = op.dgate.as<float>();
  auto* dup = op.dup.as<float>();
  for_each_element(op.dy.elements(), [=](std::int64_t i) {
    const float s = sigmoid(gate[i]);
    const float gate_gradient = formulas::swiglu_dgate(dy[i], gate[i], up[i], s);
    const float up_gradient = formulas::swiglu_dup(dy[i], gate[i], s);
    dgate[i] = gate_gradient;  // both read before either is written: outputs may be the inputs
    dup[i] = up_gradient;
  });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
