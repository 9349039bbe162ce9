// Checkpoints and adapters that version 0.1.0 wrote (earlier_version/, made at one rank: three epochs of 11 sequences,
// 5 a step, saved after step 3 of 7) load, and a run that is continued from one ends as it did then.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using testing::HasSubstr;
using testing::Not;

const fs::path kEarlier = fs::path(SHARDORA_SOURCE_DIR) / "tests/end_to_end/earlier_version";

Words earlier_words(const std::string& method, const fs::path& output) {
  Words words = {"train",
                 "--model.path=" + kModel.string(),
                 "--data.train=" + kData.string(),
                 "--adapter.method=" + method,
                 "--train.epochs=3",
                 "--train.global_batch=5",
                 "--train.learning_rate=1e-2",
                 "--train.seed=3",
                 "--train.warmup_steps=2",
                 "--train.magnitude_learning_rate=2e-2",
                 "--output.dir=" + output.string()};
  words = words + (method == "full" ? Words{"--model.dtype=float32"} : Words{"--adapter.rank=4"});
  return method == "dora" ? words + Words{"--adapter.dropout=0.2"} : words;
}

class EarlierVersion : public ::testing::TestWithParam<const char*> {};

TEST_P(EarlierVersion, ItsCheckpointIsContinuedAsItWouldHaveBeen) {
  const std::string method = GetParam();
  const json expected = json::parse(text_of(kEarlier / method / "expected.json"));
  for (const Split& split : {Split{1, 1}, Split{2, 2}}) {
    const TemporaryFolder folder;
    const fs::path run = folder / "run";
    fs::create_directories(run / "checkpoints");
    fs::copy(kEarlier / method / "step-3", run / "checkpoints/step-3", fs::copy_options::recursive);
    std::ofstream(run / "config.resolved.cfg") << "";  // a folder that a run has made
    must_run(split, earlier_words(method, run));
    for (const char* key : {"loss", "gradient_norm", "tokens"}) {
      const std::vector<double> got = values(run, key);
      ASSERT_EQ(got.size(), 4U) << "steps 4 to 7";
      for (std::size_t i = 0; i < got.size(); ++i) {
        const double then = expected.at(key)[i + 3];
        EXPECT_NEAR(got[i], then, 2e-5 * then) << to_string(split) << ", " << key << " of step " << i + 4;
      }
    }
    // What it saves is again of a run whose last step is filled with repeated data.
    EXPECT_THAT(text_of(run / "checkpoints/step-7/manifest.json"), Not(HasSubstr("last step")));
  }
}

TEST(EarlierVersionCheckpoint, IsContinuedInAFolderOfItsOwn) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run", fresh = folder / "fresh";
  must_run({1, 1}, earlier_words("lora", run) + Words{"--output.resume=" + (kEarlier / "lora/step-3").string()});
  EXPECT_EQ(values(run, "tokens").back(), 84);  // of 5 sequences
  must_run({1, 1}, earlier_words("lora", fresh));
  EXPECT_LT(values(fresh, "tokens").back(), 84);  // of the 3 that are left
  EXPECT_THAT(text_of(fresh / "checkpoints/step-7/manifest.json"), HasSubstr("last step"));
}

INSTANTIATE_TEST_SUITE_P(Methods, EarlierVersion, ::testing::Values("dora", "lora", "full"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(EarlierVersionAdapter, HasTheLossThatItHadThen) {
  const ProgramRun run =
      run_program({1, 1}, {"eval", "--model.path=" + kModel.string(), "--data.eval=" + kData.string(),
                           "--adapter.path=" + (kEarlier / "dora/step-3/adapter").string()});
  ASSERT_EQ(run.status, 0) << run.errors;
  EXPECT_NEAR(run.result().at("loss"), 4.302875071333014, 1e-5);
}

}  // namespace
}  // namespace shardora
