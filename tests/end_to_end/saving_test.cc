// Saving beside the steps, or while training goes on: the same files, and the same end where it cannot be done.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Saving : public ::testing::TestWithParam<Split> {};

Words saving(const fs::path& output, const char* background) {
  return train_words(output) + Words{"--train.steps=5", "--train.schedule=constant", "--adapter.dropout=0.2",
                                     "--output.checkpoint_every=1",
                                     std::string("--output.background_save=") + background};
}

TEST_P(Saving, InTheBackgroundLeavesTheSameFiles) {
  const TemporaryFolder folder;
  must_run(GetParam(), saving(folder / "beside", "false"));
  must_run(GetParam(), saving(folder / "meanwhile", "true"));
  for (const char* file :
       {"adapter/adapter_model.safetensors", "checkpoints/step-4/state.safetensors",
        "checkpoints/step-4/adapter/adapter_model.safetensors", "checkpoints/step-5/manifest.json"}) {
    EXPECT_EQ(text_of(folder / "meanwhile" / file), text_of(folder / "beside" / file)) << file;
  }
  EXPECT_FALSE(fs::exists(folder / "meanwhile/checkpoints/step-3"));
}

TEST_P(Saving, ThatFailsEndsEveryRankAndNamesThePath) {
  for (const char* background : {"false", "true"}) {
    const TemporaryFolder folder;
    fs::create_directory(folder / "run");
    put_text(folder / "run/config.resolved.cfg", "");                               // an earlier run's
    fs::create_directory_symlink("/proc/self/fdinfo", folder / "run/checkpoints");  // where nobody can make a folder
    const ProgramRun run = run_program(GetParam(), saving(folder / "run", background));
    EXPECT_EQ(run.status, kIo) << run.errors;
    EXPECT_THAT(run.errors, AllOf(HasSubstr("run/checkpoints/step-1.tmp-"), HasSubstr("making the folder failed")));
    EXPECT_EQ(json::parse(text_of(folder / "run/exit.json")).at("status"), kIo);
    EXPECT_FALSE(fs::exists(folder / "run/result.json"));
  }
}

INSTANTIATE_TEST_SUITE_P(Splits, Saving, ::testing::Values(Split{2, 2}), [](const auto& parameter) {
  return std::to_string(parameter.param.ranks) + "x" + std::to_string(parameter.param.tensor);
});

}  // namespace
}  // namespace shardora
