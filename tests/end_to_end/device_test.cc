// The program on a GPU, as far as the host emulation of its kernels can tell: the CPU's run in float32, near it in
// bfloat16, at every split, to the bit after a stop; and what is refused where there is no device to be had.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using testing::HasSubstr;

Words short_run(const fs::path& output) {
  return train_words(output) +
         Words{"--train.steps=2", "--train.schedule=constant", "--output.checkpoint_every=1", "--adapter.dropout=0.2"};
}

ProgramRun on_device(const Split& split, const Words& words) {
  Words all = words + Words{"--parallel.backend=cuda"};
  if (split.ranks > 1) all.emplace_back("--parallel.share_devices=true");
  return run_program(split, all, 240, {}, 1, SHARDORA_EMULATED_PROGRAM);
}

void expect_ratio(const std::vector<double>& values, const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i] / expected[i], 1, tolerance) << i;
}

class OnDevice : public ::testing::TestWithParam<Split> {};

TEST_P(OnDevice, ARunInFloat32IsTheCpus) {
  const TemporaryFolder folder;
  must_run({1, 1}, short_run(folder / "cpu"));
  const ProgramRun run = on_device(GetParam(), short_run(folder / "device") + Words{"--model.dtype=float32"});
  ASSERT_EQ(run.status, 0) << run.errors;
  expect_ratio(losses(folder / "device"), losses(folder / "cpu"), 2e-6);
  expect_ratio(values(folder / "device", "gradient_norm"), values(folder / "cpu", "gradient_norm"), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Splits, OnDevice, ::testing::Values(Split{1, 1}, Split{2, 1}, Split{2, 2}),
                         [](const auto& parameter) {
                           return std::to_string(parameter.param.ranks) + "x" + std::to_string(parameter.param.tensor);
                         });

TEST(OnDevice, BFloat16IsTheDefaultAndNearTheCpu) {
  const TemporaryFolder folder;
  must_run({1, 1}, short_run(folder / "cpu"));
  const ProgramRun run = on_device({1, 1}, short_run(folder / "device"));
  ASSERT_EQ(run.status, 0) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("frozen weights     bfloat16, as activations and products"));
  EXPECT_THAT(text_of(folder / "device/config.resolved.cfg"), HasSubstr("dtype = bfloat16"));
  expect_ratio(losses(folder / "device"), losses(folder / "cpu"), 5e-3);
  EXPECT_NE(losses(folder / "device")[0], losses(folder / "cpu")[0]);
}

TEST(OnDevice, ARunThatWasStoppedEndsWithTheStraightRunsBits) {
  const TemporaryFolder folder;
  ASSERT_EQ(on_device({2, 2}, short_run(folder / "straight")).status, 0);
  EXPECT_EQ(on_device({2, 2}, short_run(folder / "stopped") + Words{"--train.stop_at=1"}).status, kStoppedEarly);
  EXPECT_EQ(on_device({2, 2}, short_run(folder / "stopped")).status, 0);
  EXPECT_EQ(adapter_bytes(folder / "stopped"), adapter_bytes(folder / "straight"));
  EXPECT_EQ(losses(folder / "stopped"), losses(folder / "straight"));
}

TEST(OnDevice, EvaluatesAndGeneratesWhatTheCpuDoes) {
  const TemporaryFolder folder;
  must_run({1, 1}, short_run(folder / "run"));
  const Words model = {"--model.path=" + kModel.string(), "--adapter.path=" + (folder / "run/adapter").string()};
  const Words eval = Words{"eval", "--data.eval=" + kHeldOut.string()} + model;
  const json expected = must_run({1, 1}, eval);
  const ProgramRun run = on_device({1, 1}, eval + Words{"--model.dtype=float32"});
  ASSERT_EQ(run.status, 0) << run.errors;
  EXPECT_NEAR(run.result().at("loss").get<double>() / expected.at("loss").get<double>(), 1, 2e-6);
  const Words generate =
      Words{"generate", "--generate.prompts=" + kHeldOut.string(), "--generate.max_new_tokens=3"} + model;
  const ProgramRun words = on_device({1, 1}, generate + Words{"--model.dtype=float32"});
  ASSERT_EQ(words.status, 0) << words.errors;
  EXPECT_EQ(tokens_of(words.result()), tokens_of(must_run({1, 1}, generate)));
  const Words by_beams = generate + Words{"--generate.beams=3"};
  const ProgramRun beams = on_device({1, 1}, by_beams + Words{"--model.dtype=float32"});
  ASSERT_EQ(beams.status, 0) << beams.errors;
  EXPECT_EQ(tokens_of(beams.result()), tokens_of(must_run({1, 1}, by_beams)));
}

TEST(OnDevice, AProgramWithoutCudaSaysWhatItIs) {
  const TemporaryFolder folder;
  const ProgramRun run = run_program({1, 1}, short_run(folder / "run") + Words{"--parallel.backend=cuda"});
#if SHARDORA_WITH_CUDA
  EXPECT_THAT(run.errors, HasSubstr("parallel.backend = cuda: found no"));
#else
  EXPECT_THAT(run.errors, HasSubstr("parallel.backend = cuda: this program was built without CUDA; build it with"));
#endif
  EXPECT_EQ(run.status, kUnavailable);
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(OnDevice, MoreRanksThanDevicesAreRefusedByName) {
  const TemporaryFolder folder;
  const ProgramRun run = run_program({2, 1}, short_run(folder / "run") + Words{"--parallel.backend=cuda"}, 120, {}, 1,
                                     SHARDORA_EMULATED_PROGRAM);
  EXPECT_EQ(run.status, kUnavailable) << run.errors;
  EXPECT_THAT(run.errors, HasSubstr("no device is left on host"));
  EXPECT_THAT(run.errors, HasSubstr("parallel.share_devices = true"));
}

TEST(OnDevice, AutoTakesTheDeviceThatThereIsAndSaysWhyThereIsNone) {
  const TemporaryFolder folder;
  const ProgramRun device = run_program({1, 1}, short_run(folder / "device"), 120, {}, 1, SHARDORA_EMULATED_PROGRAM);
  EXPECT_THAT(device.errors, HasSubstr("cuda: device 0"));
  const ProgramRun none = run_program({1, 1}, short_run(folder / "none"));
  EXPECT_THAT(none.errors, HasSubstr("(parallel.backend = auto: rank 0 "));
}

}  // namespace
}  // namespace shardora
