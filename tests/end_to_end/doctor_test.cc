// The doctor under the launcher of a run. Planted faults: tests/faults/doctor.py.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Words doctor_words(const fs::path& output) {
  return {"doctor", "--parallel.backend=cpu", "--doctor.timeout_seconds=100", "--output.dir=" + output.string()};
}

std::vector<std::string> group_names(const json& result) {
  std::vector<std::string> names;
  for (const json& one : result.at("groups")) names.push_back(one.at("group"));
  return names;
}

TEST(Doctor, TellsOfEveryRankAndEveryGroupAndLeavesTheFolderAsItWas) {
  const TemporaryFolder folder;
  const std::tuple<Split, std::vector<std::string>> runs[] = {
      {{1, 1}, {}}, {{2, 2}, {"world", "tensor"}}, {{4, 2}, {"world", "tensor", "data"}}};
  for (const auto& [split, groups] : runs) {
    const json result = must_run(split, doctor_words(folder.path()));
    EXPECT_TRUE(result.at("usable"));
    EXPECT_THAT(result.at("faults"), IsEmpty());
    EXPECT_THAT(result.at("ranks"), SizeIs(static_cast<std::size_t>(split.ranks)));
    for (int rank = 0; rank < split.ranks; ++rank) {
      const json& one = result.at("ranks").at(static_cast<std::size_t>(rank));
      EXPECT_EQ(one.at("rank"), rank);
      EXPECT_EQ(one.at("tensor"), rank % split.tensor);
      EXPECT_EQ(one.at("data"), rank / split.tensor);
      EXPECT_EQ(one.at("threads"), 1);
      EXPECT_THAT(one.at("program").get<std::string>(), HasSubstr(" build "));
    }
    EXPECT_EQ(group_names(result), groups) << to_string(split);
    for (const json& group : result.at("groups")) {
      EXPECT_TRUE(group.at("right")) << group;
      EXPECT_GT(group.at("bytes_per_second"), 0) << group;
      EXPECT_GT(group.at("expected_bytes_per_second"), 0) << group;
    }
    EXPECT_TRUE(result.at("folder").at("locks"));
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
}

TEST(Doctor, TakesTheCommandLineOfARun) {
  const TemporaryFolder folder;
  Words words = train_words(folder / "run") + Words{"--train.steps=1"};
  words[0] = "doctor";
  const json result = must_run({1, 1}, words);
  EXPECT_TRUE(result.at("usable"));
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(Doctor, ReportsADeviceThatIsNotThereAndGoesOn) {
  if (SHARDORA_WITH_CUDA) GTEST_SKIP() << "this program may have one";
  const ProgramRun run = run_program({2, 1}, {"doctor", "--parallel.backend=cuda"});
  EXPECT_EQ(run.status, kUnavailable) << run.errors;
  const json result = run.result();
  EXPECT_FALSE(result.at("usable"));
  ASSERT_THAT(result.at("faults"), SizeIs(1)) << result.at("faults");
  EXPECT_THAT(result.at("faults").at(0).get<std::string>(), HasSubstr("ranks 0-1"));
  EXPECT_THAT(group_names(result), ElementsAre("world", "data"));
}

TEST(Doctor, RefusesAMistakeOnTheCommandLineWith64) {
  const ProgramRun run = run_program({2, 1}, {"doctor", "--doctor.timeout_seconds=0"});
  EXPECT_EQ(run.status, kUsage);
  EXPECT_THAT(run.errors, HasSubstr("doctor.timeout_seconds = '0'"));
}

}  // namespace
}  // namespace shardora
