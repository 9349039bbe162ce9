// Which option a model is said to choose.
#include "runtime/jobs/eval/multiple_choice.h"

#include <gtest/gtest.h>

#include "tests/runtime/data/dataset_file.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

// Two questions of two options; the options' targets are 1 and 2, then 2 and 1 tokens.
ChoiceSet two_questions(const TemporaryFolder& folder, const std::vector<std::int32_t>& answers) {
  DatasetFile file{.tokens = {1, 2, 1, 2, 3, 1, 2, 3, 1, 2}, .offsets = {0, 2, 5, 8, 10}, .loss_mask = {}};
  file.others.emplace("questions", tensor_of(std::vector<std::int64_t>{0, 2, 4}));
  file.others.emplace("answers", tensor_of(answers));
  write_dataset(folder / "choices.safetensors", file);
  return ChoiceSet(folder / "choices.safetensors", 10, 10);
}

TEST(ScoreChoices, TheHighestLikelihoodIsChosen) {
  const TemporaryFolder folder;
  const ChoiceScores scores = score_choices(two_questions(folder, {1, 1}), std::vector{-3.0, -2.5, -1.0, -4.0}, "set");
  EXPECT_EQ(scores.name, "set");
  EXPECT_EQ(scores.questions, 2);
  EXPECT_EQ(scores.accuracy, 0.5);
  EXPECT_EQ(scores.chance, 0.5);
}

TEST(ScoreChoices, TheFirstOfEqualsIsChosen) {
  const TemporaryFolder folder;
  EXPECT_EQ(score_choices(two_questions(folder, {0, 0}), std::vector{-2.0, -2.0, -1.0, -1.0}, "").accuracy, 1);
  EXPECT_EQ(score_choices(two_questions(folder, {1, 1}), std::vector{-2.0, -2.0, -1.0, -1.0}, "").accuracy, 0);
}

TEST(ScoreChoices, ATokensShareMayChooseAnother) {
  const TemporaryFolder folder;
  // Sums: the first, the second. Over 1 and 2, and 2 and 1 tokens: the second, the first.
  const ChoiceScores scores = score_choices(two_questions(folder, {0, 1}), std::vector{-2.0, -3.0, -3.0, -2.0}, "");
  EXPECT_EQ(scores.accuracy, 1);
  EXPECT_EQ(scores.accuracy_per_token, 0);
}

}  // namespace
}  // namespace shardora
