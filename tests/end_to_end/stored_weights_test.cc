// How frozen weights are kept: in bfloat16 a run is the float32 run on weights rounded beforehand; one copy in place of
// two changes nothing but the rounding of sums.
#include "kernels/float_types.h"
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

// The small model with its matrices rounded to bfloat16, still stored in float32.
fs::path rounded_model(const fs::path& folder) {
  fs::create_directories(folder);
  fs::copy_file(kModel / "config.json", folder / "config.json");
  TensorMap tensors = read_safetensors(kModel / "model.safetensors");
  for (auto& [name, tensor] : tensors) {
    if (tensor.shape.size() != 2) continue;
    for (float& value : tensor.f32()) value = float_from_bf16(bf16_from_float(value));
  }
  write_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  return folder;
}

Words run_on(const fs::path& model, const fs::path& output, const Words& more) {
  Words words = train_words(output) + Words{"--train.steps=6", "--adapter.norm_gradient=exact"} + more;
  words[1] = "--model.path=" + model.string();
  return words;
}

void expect_near(const std::vector<double>& values, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], tolerance * expected[i]) << i;
}

class StoredWeights : public ::testing::TestWithParam<Split> {};

TEST_P(StoredWeights, InBfloat16GiveTheRunOfTheRoundedModel) {
  const TemporaryFolder folder;
  const fs::path rounded = rounded_model(folder / "rounded");
  must_run(GetParam(), run_on(kModel, folder / "stored", {"--model.dtype=bfloat16"}));
  must_run(GetParam(), run_on(rounded, folder / "reference", {}));
  must_run(GetParam(), run_on(kModel, folder / "float32", {}));
  expect_near(losses(folder / "stored"), losses(folder / "reference"), 2e-6);
  expect_near(values(folder / "stored", "gradient_norm"), values(folder / "reference", "gradient_norm"), 1e-5);
  EXPECT_GT(std::abs(losses(folder / "stored")[0] / losses(folder / "float32")[0] - 1), 4e-6);  // it did round
}

TEST_P(StoredWeights, InOneCopyGiveTheSameRun) {
  const TemporaryFolder folder;
  must_run(GetParam(), run_on(kModel, folder / "one", {"--model.weight_layouts=one"}));
  must_run(GetParam(), run_on(kModel, folder / "two", {"--model.weight_layouts=two"}));
  expect_near(losses(folder / "one"), losses(folder / "two"), 1e-6);
  expect_near(values(folder / "one", "gradient_norm"), values(folder / "two", "gradient_norm"), 1e-5);
  EXPECT_THAT(text_of(folder / "one/logs/rank-0.log"), ::testing::HasSubstr("one copy for both directions"));
  EXPECT_THAT(text_of(folder / "two/logs/rank-0.log"), ::testing::HasSubstr("a copy for each direction"));
}

INSTANTIATE_TEST_SUITE_P(Splits, StoredWeights, ::testing::Values(Split{1, 1}, Split{2, 2}), [](const auto& parameter) {
  return std::to_string(parameter.param.ranks) + "x" + std::to_string(parameter.param.tensor);
});

TEST(StoredWeights, InBfloat16AreWhatAMergeFoldsTheAdapterInto) {
  const TemporaryFolder folder;
  must_run({}, run_on(kModel, folder / "run", {"--model.dtype=bfloat16"}));
  const auto merge = [&](const fs::path& model, const fs::path& output, const Words& more) {
    return must_run({}, Words{"merge", "--model.path=" + model.string(), "--output.dir=" + output.string(),
                              "--adapter.path=" + (folder / "run/adapter").string()} +
                            more);
  };
  const json result = merge(kModel, folder / "merged", {"--model.dtype=bfloat16", "--merge.verify=true"});
  merge(rounded_model(folder / "rounded"), folder / "reference", {});
  EXPECT_EQ(text_of(folder / "merged/model.safetensors"), text_of(folder / "reference/model.safetensors"));
  EXPECT_LT(result.at("logit_difference").get<double>(), 1e-5);
}

}  // namespace
}  // namespace shardora
