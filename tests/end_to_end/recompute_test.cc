// train.recompute changes what a run keeps in memory, and no bit of what it computes.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

const Words kMethods[] = {{"--adapter.method=dora", "--adapter.dropout=0.2"},
                          {"--adapter.method=lora", "--adapter.dropout=0.2"},
                          {"--adapter.method=full"}};

Words run_words(const fs::path& output, const Words& method) {
  Words words = train_words(output) + method + Words{"--train.steps=3", "--train.micro_batch_tokens=40"};
  if (method.front().ends_with("full")) std::erase(words, "--adapter.rank=4");
  return words;
}

std::string trained_bytes(const fs::path& run) {
  const fs::path model = run / "model/model.safetensors";
  return fs::exists(model) ? text_of(model) : adapter_bytes(run);
}

class RecomputedRun : public ::testing::TestWithParam<Split> {};

TEST_P(RecomputedRun, EndsWithTheBitsOfOneThatKeepsAll) {
  for (const Words& method : kMethods) {
    const TemporaryFolder folder;
    must_run(GetParam(), run_words(folder / "none", method));
    for (const std::string recompute : {"selective", "full"}) {
      must_run(GetParam(), run_words(folder / recompute, method) + Words{"--train.recompute=" + recompute});
      EXPECT_EQ(trained_bytes(folder / recompute), trained_bytes(folder / "none")) << method[0] << recompute;
      for (const char* key : {"loss", "gradient_norm"}) {
        EXPECT_EQ(values(folder / recompute, key), values(folder / "none", key)) << method[0] << recompute;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Splits, RecomputedRun, ::testing::Values(Split{1, 1}, Split{2, 1}, Split{2, 2}),
                         [](const auto& parameter) {
                           return std::to_string(parameter.param.ranks) + "x" + std::to_string(parameter.param.tensor);
                         });

TEST(ResumeWithAnotherRecompute, GivesTheBitsOfTheStraightRun) {
  const TemporaryFolder folder;
  must_run({1, 1}, run_words(folder / "straight", kMethods[0]));
  for (const char* recompute : {"full", "none", "selective"}) {
    const ProgramRun run =
        run_program({1, 1}, run_words(folder / "moved", kMethods[0]) +
                                Words{"--train.stop_at=1", std::string("--train.recompute=") + recompute});
    EXPECT_TRUE(run.status == 0 || run.status == 75) << run.errors;
  }
  EXPECT_EQ(adapter_bytes(folder / "moved"), adapter_bytes(folder / "straight"));
}

}  // namespace
}  // namespace shardora
