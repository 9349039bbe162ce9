// What a step says of itself: its time by phases, and the model's work, the same at every split.
#include <numeric>

#include "runtime/system/proc.h"
#include "tests/support/small_training.h"

namespace shardora {
namespace {

using testing::small_options;
using testing::SmallTraining;

constexpr int kSteps = 3;

class StepReport : public ::testing::TestWithParam<bool> {
 protected:
  // Of a step on six sequences of 10 tokens, all but each one's first a target.
  double model_flops(const AdapterOptions& adapter) {
    SmallTraining training(small_options(adapter), std::vector<std::int64_t>(24, 10), GetParam(), kSteps);
    return training.run(1).model_flops;
  }
};

TEST_P(StepReport, PhasesAddUpToTheStepsOwnTime) {
  SmallTraining training(small_options({}), std::vector<std::int64_t>(24, 10), GetParam(), kSteps);
  for (int k = 1; k <= kSteps; ++k) {
    const double before = monotonic_seconds();
    const TrainStep::Result step = training.run(k);
    EXPECT_LE(step.seconds, monotonic_seconds() - before);
    EXPECT_EQ(step.seconds, std::accumulate(step.phases.begin(), step.phases.end(), 0.0));
    for (std::size_t i = 0; i < kPhaseNames.size(); ++i) EXPECT_GT(step.phases[i], 0) << kPhaseNames[i];
  }
}

// A layer's products have 2 x 24 x 24 + 2 x 24 x 12 + 3 x 24 x 37 = 4392 elements, its adapters 3 x 351, the head 1272;
// 50 causal pairs a sequence in the first layer, 37.5 in the second, whose window is 5.
TEST_P(StepReport, TheModelsWorkIsThatOfAllRanksAtEverySplit) {
  EXPECT_DOUBLE_EQ(model_flops({}), 60 * (4 * 2 * 4392.0 + 6 * 2 * 1053) + 54 * 4 * 1272 + 6 * 14 * 24 * (50 + 37.5));
  EXPECT_DOUBLE_EQ(model_flops({.method = AdapterMethod::kLora}), model_flops({}));
  EXPECT_DOUBLE_EQ(model_flops({.method = AdapterMethod::kFull}),
                   60 * 6 * 2 * 4392.0 + 54 * 6 * 1272 + 6 * 14 * 24 * (50 + 37.5));
}

TEST_P(StepReport, LayersBelowTheLowestAdaptedOneWorkForwardOnly) {
  EXPECT_DOUBLE_EQ(model_flops({.layers = {1}}),
                   60 * ((2 + 4) * 4392.0 + 6 * 1053) + 54 * 4 * 1272 + 6 * 24 * (4 * 50 + 14 * 37.5));
}

INSTANTIATE_TEST_SUITE_P(Splits, StepReport, ::testing::Bool(), [](const auto& parameter) {
  return parameter.param ? std::string("tensor_parallel") : std::string("data_parallel");
});

}  // namespace
}  // namespace shardora
