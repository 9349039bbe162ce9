// A device against the CPU: the same step in float32 within rounding, and in bfloat16 as close as its seven bits allow.
#include <gmock/gmock.h>

#include "tests/support/small_model.h"

namespace shardora {
namespace {

using testing::small_config;
using testing::small_options;
using testing::SmallModel;
using testing::worst_difference;

std::vector<AdapterOptions> adapters() {
  std::vector<AdapterOptions> all = {{.method = AdapterMethod::kLora}, {.method = AdapterMethod::kFull}};
  for (const MagnitudeAxis axis : {MagnitudeAxis::kOutput, MagnitudeAxis::kInput}) {
    for (const NormGradient gradient : {NormGradient::kDetached, NormGradient::kExact}) {
      all.push_back({.magnitude_axis = axis, .norm_gradient = gradient});
      all.push_back({.dropout = 0.3, .magnitude_axis = axis, .norm_gradient = gradient});
    }
  }
  return all;
}

class Devices : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::tested_backend() != BackendKind::kCuda) GTEST_SKIP() << "SHARDORA_TEST_BACKEND is not cuda";
  }
  struct Step {
    double loss = 0, gradient_norm = 0;
    std::map<std::string, std::vector<float>> gradients;
  };
  static std::vector<float> joined(const std::map<std::string, std::vector<float>>& tensors) {
    std::vector<float> all;
    for (const auto& [name, values] : tensors) all.insert(all.end(), values.begin(), values.end());
    return all;
  }
  static Step step(AdapterOptions adapter, const std::string& dtype, BackendKind kind) {
    RunOptions options = small_options(std::move(adapter));
    options.model.dtype = dtype;
    SmallModel model(options, small_config(), true, true, kind);
    if (options.adapter.method != AdapterMethod::kFull) model.perturb();
    Step done{.loss = model.run()};
    done.gradient_norm = gradient_norm(model.backend(), model.grid(), model.model().parameters());
    done.gradients = model.gather(true);
    return done;
  }
};

TEST_F(Devices, AStepInFloat32IsTheCpusWithinRounding) {
  for (const AdapterOptions& adapter : adapters()) {
    const Step cpu = step(adapter, "float32", BackendKind::kCpu), device = step(adapter, "float32", BackendKind::kCuda);
    EXPECT_NEAR(device.loss, cpu.loss, 2e-6 * cpu.loss);
    EXPECT_NEAR(device.gradient_norm / cpu.gradient_norm, 1, 1e-5);
    EXPECT_LT(worst_difference(device.gradients, cpu.gradients), 5e-5);
  }
}

TEST_F(Devices, AStepInBFloat16IsNearAndKeepsEveryGradient) {
  for (const AdapterOptions& adapter : adapters()) {
    if (adapter.method == AdapterMethod::kFull) continue;  // trains in float32
    const Step cpu = step(adapter, "bfloat16", BackendKind::kCpu),
               device = step(adapter, "bfloat16", BackendKind::kCuda);
    EXPECT_NEAR(device.loss, cpu.loss, 5e-3 * cpu.loss);
    EXPECT_NEAR(device.gradient_norm / cpu.gradient_norm, 1, 5e-2);
    // Sums over 24 features and 17 tokens average little: 16 % was measured in the worst tensor, 7 % over all.
    EXPECT_LT(worst_difference(device.gradients, cpu.gradients), 0.25);
    EXPECT_LT(worst_difference({{"all", joined(device.gradients)}}, {{"all", joined(cpu.gradients)}}), 0.1);
  }
}

TEST_F(Devices, AStepGivesTheSameBitsTwice) {
  for (const char* dtype : {"float32", "bfloat16"}) {
    const Step once = step({}, dtype, BackendKind::kCuda), again = step({}, dtype, BackendKind::kCuda);
    EXPECT_EQ(once.loss, again.loss);
    EXPECT_EQ(once.gradients, again.gradients);
  }
}

}  // namespace
}  // namespace shardora
