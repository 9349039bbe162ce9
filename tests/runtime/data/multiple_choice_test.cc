// What a file of multiple-choice questions is read as, and every way in which it is refused.
#include "runtime/data/multiple_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/data/dataset_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

class ChoicesTest : public testing::Test {
 protected:
  // Five options of two questions: two, then three. The first token is the prompt.
  std::vector<std::int64_t> questions_ = {0, 2, 5};
  std::vector<std::int32_t> answers_ = {1, 2};
  DatasetFile file_{.tokens = {5, 6, 5, 7, 4, 6, 6, 4, 7, 4, 8}, .offsets = {0, 2, 4, 7, 9, 11}, .loss_mask = {}};
  TemporaryFolder folder_;

  ChoiceSet read(std::int64_t longest = 3) {
    file_.others.insert_or_assign("questions", tensor_of(questions_));
    file_.others.insert_or_assign("answers", tensor_of(answers_));
    return read_as_it_is(longest);
  }
  ChoiceSet read_as_it_is(std::int64_t longest = 3) {
    write_dataset(folder_ / "c.safetensors", file_);
    return ChoiceSet(folder_ / "c.safetensors", 10, longest);
  }
  void expect_refused(std::vector<std::string> words) {
    words.emplace_back("c.safetensors");
    expect_error(ExitStatus::kBadInput, words, [&] { read(); });
  }
};

TEST_F(ChoicesTest, SequencesAreTheOptionsOfQuestions) {
  const ChoiceSet choices = read();
  ASSERT_EQ(choices.size(), 2);
  EXPECT_EQ(choices[0].first, 0);
  EXPECT_EQ(choices[0].options, 2);
  EXPECT_EQ(choices[0].answer, 1);
  EXPECT_EQ(choices[1].first, 2);
  EXPECT_EQ(choices[1].options, 3);
  EXPECT_EQ(choices[1].answer, 2);
  EXPECT_EQ(choices.options().size(), 5);
}

TEST_F(ChoicesTest, TheFingerprintIsOfQuestionsAndAnswersToo) {
  const std::string before = read().fingerprint();
  EXPECT_EQ(before, read().fingerprint());
  answers_ = {0, 2};
  EXPECT_NE(before, read().fingerprint());
  answers_ = {1, 1};
  questions_ = {0, 3, 5};
  EXPECT_NE(before, read().fingerprint());
}

TEST_F(ChoicesTest, IsNoDatasetToLearnFrom) {
  read();
  expect_error(ExitStatus::kBadInput, {"unknown tensor", "expected tokens"},
               [&] { Dataset(folder_ / "c.safetensors", 10, 3, Overlong::kError); });
}

TEST_F(ChoicesTest, RefusesQuestionsThatAreNotThere) {
  expect_error(ExitStatus::kBadInput, {"has no tensor questions"}, [&] { read_as_it_is(); });
  questions_ = {0};
  answers_ = {};
  expect_refused({"holds no question"});
}

TEST_F(ChoicesTest, RefusesQuestionsThatDoNotCoverTheSequences) {
  questions_ = {0, 2, 4};
  expect_refused({"goes from 0 to 4", "expected from 0 to 5"});
  questions_ = {1, 3, 5};
  expect_refused({"goes from 1 to 5"});
}

TEST_F(ChoicesTest, RefusesAQuestionWithoutAChoice) {
  questions_ = {0, 1, 5};
  expect_refused({"question 0", "from 0 to before 1", "two options or more"});
  questions_ = {0, 4, 3, 5};
  answers_ = {0, 0, 0};
  expect_refused({"question 1", "from 4 to before 3"});
}

TEST_F(ChoicesTest, RefusesAnswersThatNameNoOption) {
  answers_ = {1};
  expect_refused({"answers has 1 entries", "expected 2"});
  answers_ = {1, 3};
  expect_refused({"question 1 has answer 3", "one of its 3 options"});
  answers_ = {-1, 0};
  expect_refused({"question 0 has answer -1"});
}

TEST_F(ChoicesTest, RefusesAnOptionThatCannotBeScored) {
  file_.loss_mask = {{0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1}};
  expect_refused({"sequence 1, an option, has no target"});
}

TEST_F(ChoicesTest, RefusesAnOptionThatIsTooLongWhateverTheLengths) {
  expect_error(ExitStatus::kBadInput, {"sequence 2 has 3 tokens", "limit of 2"}, [&] { read(2); });
}

}  // namespace
}  // namespace shardora
