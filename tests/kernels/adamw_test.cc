// AdamW against a float64 optimizer: single steps, and the moves of a thousand small ones.
#include "kernels/adamw.h"

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::kFp32;
using support::Vector;

struct Reference {
  Vector value, moment1, moment2;

  void step(const AdamW& op, const Vector& gradient) {
    const double correction1 = 1 - std::pow(op.beta1, static_cast<double>(op.step));
    const double correction2 = 1 - std::pow(op.beta2, static_cast<double>(op.step));
    for (std::size_t i = 0; i < value.size(); ++i) {
      const double g = op.gradient_scale * gradient[i];
      value[i] -= op.learning_rate * op.weight_decay * value[i];
      moment1[i] = op.beta1 * moment1[i] + (1 - op.beta1) * g;
      moment2[i] = op.beta2 * moment2[i] + (1 - op.beta2) * g * g;
      value[i] -= op.learning_rate * (moment1[i] / correction1) / (std::sqrt(moment2[i] / correction2) + op.epsilon);
    }
  }
};

class AdamWTest : public support::KernelTest {};

TEST_F(AdamWTest, OneStepMatchesFloat64AtOddSizes) {
  for (const std::int64_t count : {0, 1, 17, 127, 30011}) {
    for (const std::int64_t step : {1, 2, 1000}) {
      Reference expected{support::random_vector(count, 1), support::random_vector(count, 2),
                         support::random_vector(count, 3, 0.01, 2)};
      const Vector before = expected.value;
      const Vector gradient = support::random_vector(count, 4, -3, 5);
      const AdamW op{.value = floats(expected.value),
                     .gradient = floats(gradient),
                     .moment1 = floats(expected.moment1),
                     .moment2 = floats(expected.moment2),
                     .learning_rate = 0.3,
                     .beta1 = 0.8,
                     .beta2 = 0.95,
                     .epsilon = 1e-3,
                     .weight_decay = 0.1,
                     .step = step,
                     .gradient_scale = 0.25};
      adamw(*backend_, op);
      expected.step(op, gradient);
      support::expect_close(read(op.value), expected.value, kFp32, "value");
      support::expect_close(read(op.moment1), expected.moment1, kFp32, "moment1");
      support::expect_close(read(op.moment2), expected.moment2, kFp32, "moment2");
    }
  }
}

TEST_F(AdamWTest, FirstStepMovesByTheLearningRateAgainstTheSign) {
  const AdamW op{.value = floats({1, 1, 1}),
                 .gradient = floats({1e-3, -50, 0}),
                 .moment1 = floats({0, 0, 0}),
                 .moment2 = floats({0, 0, 0}),
                 .learning_rate = 0.125};
  adamw(*backend_, op);
  support::expect_close(read(op.value), {0.875, 1.125, 1}, 2e-5, "value");
}

TEST_F(AdamWTest, ThousandSmallStepsMoveAsFloat64Moves) {
  const std::int64_t count = 127;
  const Vector start = support::random_vector(count, 5, -0.06, 0.05);  // as a factor A begins
  Reference expected{start, Vector(start.size()), Vector(start.size())};
  AdamW op{.value = floats(start),
           .gradient = floats(start),
           .moment1 = floats(Vector(start.size())),
           .moment2 = floats(Vector(start.size())),
           .learning_rate = 1e-5};
  const Vector drift = support::random_vector(count, 6, -1, 1);
  for (op.step = 1; op.step <= 1000; ++op.step) {
    Vector gradient = support::random_vector(count, 1000 + static_cast<unsigned>(op.step), -2, 2);
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = static_cast<float>(1e-3 * (gradient[i] + drift[i]));
    op.gradient = floats(gradient);
    adamw(*backend_, op);
    expected.step(op, gradient);
  }
  const std::vector<float> value = read(op.value);
  double largest = 0;
  for (std::size_t i = 0; i < start.size(); ++i) {
    const double move = expected.value[i] - start[i];
    largest = std::max(largest, std::abs(move));
    // Small moves are sums of large ones that cancel: half a permille of the path (1e-5 * 1000) is allowed beside.
    EXPECT_NEAR(value[i] - start[i], move, 1e-3 * std::abs(move) + 5e-7) << i;
  }
  EXPECT_GT(largest, 1e-3);
}

TEST_F(AdamWTest, NotANumberReachesTheValue) {
  const AdamW op{.value = floats({1, 1}),
                 .gradient = floats({std::nan(""), 1}),
                 .moment1 = floats({0, 0}),
                 .moment2 = floats({0, 0}),
                 .learning_rate = 0.1};
  adamw(*backend_, op);
  EXPECT_TRUE(std::isnan(read(op.value)[0]));
  EXPECT_FALSE(std::isnan(read(op.value)[1]));
}

}  // namespace
}  // namespace shardora
