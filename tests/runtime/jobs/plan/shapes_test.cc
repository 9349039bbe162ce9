// The presets against the parameter counts that their publishers state.
#include "runtime/jobs/plan/shapes.h"

#include <gmock/gmock.h>

#include "tests/support/expect_error.h"

namespace shardora {
namespace {

std::int64_t parameters(const std::string& name) {
  std::int64_t sum = 0;
  for (const NamedShape& tensor : expected_tensors(shape_preset(name, "plan.shape"))) {
    sum += Shape(tensor.shape).elements();
  }
  return sum;
}

TEST(Shapes, HaveTheParametersOfThePublishedModels) {
  const std::pair<const char*, std::int64_t> published[] = {
      {"260K", 260'032},
      {"1B", 1'235'814'400},
      {"3B", 3'212'749'824},
      {"7B", 6'738'415'616},
      {"8B", 8'030'261'248},
      {"13B", 13'015'864'320},
      {"70B", 70'553'706'496},
      {"405B", 405'853'388'800},
      {"mistral-7B", 7'248'023'552},
      {"qwen2.5-0.5B", 494'032'768},
      {"qwen2.5-1.5B", 1'543'714'304},
      {"qwen2.5-7B", 7'615'616'512},
      {"qwen2.5-32B", 32'763'876'352},
      {"qwen2.5-72B", 72'706'203'648},
      {"qwen3-0.6B", 596'049'920},
      {"qwen3-4B", 4'022'468'096},
      {"qwen3-8B", 8'190'735'360},
      {"qwen3-32B", 32'762'123'264},
  };
  for (const auto& [name, count] : published) EXPECT_EQ(parameters(name), count) << name;
}

TEST(Shapes, AreAllReadable) {
  for (const std::string& name : shape_names()) EXPECT_GT(parameters(name), 200'000) << name;
}

TEST(Shapes, AnUnknownOneIsRefusedWithTheKnownOnes) {
  expect_error(ExitStatus::kUsage, {"plan.shape = 9B", "260K, 15M", "qwen3-32B"},
               [] { shape_preset("9B", "plan.shape"); });
}

}  // namespace
}  // namespace shardora
