// Gradients summed over the data group in pieces: each element once, and none before its layer is done.
#include <gmock/gmock.h>

#include "runtime/formats/peft_adapter.h"
#include "runtime/train/gradients.h"
#include "tests/support/small_model.h"

namespace shardora {
namespace {

using testing::small_config;
using testing::small_options;
using testing::SmallModel;

// Every rank's gradients are rank + 1; a sum is known by its value.
class SumsOfGradients : public ::testing::TestWithParam<AdapterMethod> {
 protected:
  SumsOfGradients() {
    for (float& value : set().gradients().span<float>()) value = static_cast<float>(test_world().rank() + 1);
  }
  ParameterSet& set() { return model_.model().parameters(); }
  GradientSums sums(std::int64_t bucket) { return {model_.backend(), grid_, set(), bucket}; }
  // Whether all values of the parameters that `of` chooses are summed (or, where not, untouched).
  void expect(bool summed, const std::function<bool(std::int64_t layer)>& of) {
    const int size = test_world().size();
    const auto wanted = static_cast<float>(summed ? size * (size + 1) / 2 : test_world().rank() + 1);
    for (std::size_t i = 0; i < set().all().size(); ++i) {
      if (!of(layer_of(set().all()[i].name))) continue;
      EXPECT_THAT(set().gradient(i).span<float>(), ::testing::Each(wanted)) << set().all()[i].name;
    }
  }

  SmallModel model_{small_options({.method = GetParam()}), small_config(), true};
  testing::WorldOn world_{model_.backend()};
  ProcessGrid grid_{.data = {test_world().rank(), test_world().size()},
                    .world = &test_world(),
                    .data_group = &world_.group(),
                    .tensor_group = model_.grid().tensor_group};
};

TEST_P(SumsOfGradients, StartAsLayersAreDoneAndTakeEachElementOnce) {
  GradientSums by_layer = sums(1);
  by_layer.layer_done(1);
  expect(true, [](std::int64_t layer) { return layer == 1; });
  expect(false, [](std::int64_t layer) { return layer < 1; });
  by_layer.layer_done(0);
  expect(true, [](std::int64_t layer) { return layer >= 0; });
  expect(false, [](std::int64_t layer) { return layer < 0; });
  by_layer.finish();
  expect(true, [](std::int64_t) { return true; });
}

TEST_P(SumsOfGradients, OfLittleWaitForMoreAndAreUsedAgain) {
  GradientSums patient = sums(GradientSums::kBucket);
  for (int step = 0; step < 2; ++step) {
    for (float& value : set().gradients().span<float>()) value = static_cast<float>(test_world().rank() + 1);
    patient.layer_done(1);
    expect(false, [](std::int64_t) { return true; });
    patient.layer_done(0);
    patient.finish();
    expect(true, [](std::int64_t) { return true; });
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, SumsOfGradients, ::testing::Values(AdapterMethod::kDora, AdapterMethod::kFull),
                         [](const auto& one) { return one.param == AdapterMethod::kDora ? "dora" : "full"; });

}  // namespace
}  // namespace shardora
