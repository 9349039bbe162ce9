// What a dataset file is read as, and every way in which it is refused.
#include "runtime/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/data/dataset_file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using testing::ElementsAre;

class DatasetTest : public testing::Test {
 protected:
  // Three sequences: 5 6 7 | 8 | 9 4.
  DatasetFile file_{{5, 6, 7, 8, 9, 4}, {0, 3, 4, 6}, std::nullopt, {{"format", "shardora.dataset.v1"}}, {}};
  TemporaryFolder folder_;

  Dataset read(std::int64_t vocabulary = 10, std::int64_t longest = 3, Overlong overlong = Overlong::kError) {
    write_dataset(folder_ / "d.safetensors", file_);
    return Dataset(folder_ / "d.safetensors", vocabulary, longest, overlong);
  }
  void expect_refused(std::vector<std::string> words) {
    words.emplace_back("d.safetensors");
    expect_error(ExitStatus::kBadInput, words, [&] { read(); });
  }
};

TEST_F(DatasetTest, WithoutAMaskEveryTokenButTheFirstIsATarget) {
  const Dataset dataset = read();
  ASSERT_EQ(dataset.size(), 3);
  EXPECT_THAT(dataset[0].tokens, ElementsAre(5, 6, 7));
  EXPECT_THAT(dataset[0].loss_mask, ElementsAre(0, 1, 1));
  EXPECT_THAT(dataset[1].tokens, ElementsAre(8));
  EXPECT_THAT(dataset[1].loss_mask, ElementsAre(0));
  EXPECT_THAT(dataset[2].tokens, ElementsAre(9, 4));
  EXPECT_THAT(dataset[2].loss_mask, ElementsAre(0, 1));
  EXPECT_EQ(dataset.tokens(), 6);
  EXPECT_EQ(dataset.targets(), 3);
  EXPECT_EQ(dataset.longest(), 3);
  EXPECT_EQ(dataset.length(2), 2);
  EXPECT_EQ(dataset.target_count(0), 2);
  EXPECT_EQ(dataset.without_targets(), 1);
  EXPECT_EQ(dataset.cut(), 0);
  EXPECT_EQ(dataset.dropped(), 0);
  EXPECT_EQ(dataset.metadata().at("format"), "shardora.dataset.v1");
}

TEST_F(DatasetTest, AMaskChoosesTheTargets) {
  file_.loss_mask = {{0, 0, 1, 0, 0, 1}};
  const Dataset dataset = read();
  EXPECT_THAT(dataset[0].loss_mask, ElementsAre(0, 0, 1));
  EXPECT_EQ(dataset.target_count(0), 1);
  EXPECT_EQ(dataset.target_count(1), 0);
  EXPECT_EQ(dataset.targets(), 2);
}

TEST_F(DatasetTest, TheEdgesOfTheVocabularyAreInIt) {
  file_.tokens = {0, 9, 0, 9, 0, 9};
  EXPECT_EQ(read(10).size(), 3);
}

TEST_F(DatasetTest, RefusesAFileWithoutAFormat) {
  file_.metadata = {{"source", "x"}};
  expect_refused({"metadata has no format", "expected shardora.dataset.v1", "shardora-prepare"});
  file_.metadata.clear();
  expect_refused({"metadata has no format"});
}

TEST_F(DatasetTest, RefusesAnotherFormat) {
  file_.metadata = {{"format", "shardora.dataset.v2"}};
  expect_refused({"format shardora.dataset.v2", "expected shardora.dataset.v1"});
}

TEST_F(DatasetTest, RefusesAnUnknownTensorByName) {
  file_.others["position_ids"] = tensor_of<std::int32_t>({1});
  expect_refused({"unknown tensor position_ids"});
}

TEST_F(DatasetTest, RefusesAMissingTensor) {
  TensorMap tensors;
  tensors.emplace("tokens", tensor_of(file_.tokens));
  write_safetensors(folder_ / "d.safetensors", tensors, file_.metadata);
  expect_error(ExitStatus::kBadInput, {"has no tensor offsets"},
               [&] { Dataset(folder_ / "d.safetensors", 10, 3, Overlong::kError); });
}

TEST_F(DatasetTest, RefusesAnotherTypeOfEachTensor) {
  file_.others["tokens"] = tensor_of<std::int64_t>({5, 6, 7, 8, 9, 4});
  expect_refused({"tensor tokens is I64, expected I32"});
  file_.others.clear();
  file_.others["offsets"] = tensor_of<std::int32_t>({0, 3, 4, 6});
  expect_refused({"tensor offsets is I32, expected I64"});
  file_.others.clear();
  file_.others["loss_mask"] = tensor_of<std::int32_t>({0, 1, 1, 0, 0, 1});
  expect_refused({"tensor loss_mask is I32, expected U8"});
}

TEST_F(DatasetTest, RefusesATensorOfTwoDimensions) {
  file_.others["tokens"] = tensor_of(file_.tokens);
  file_.others["tokens"].shape = {2, 3};
  expect_refused({"tensor tokens has 2 dimensions, expected one"});
}

TEST_F(DatasetTest, RefusesAFileWithoutSequences) {
  file_.tokens = {};
  file_.offsets = {0};
  expect_refused({"holds no sequence", "1 entries"});
  file_.offsets = {};
  expect_refused({"holds no sequence", "0 entries"});
}

TEST_F(DatasetTest, RefusesOffsetsThatDoNotStartAtZero) {
  file_.offsets = {1, 3, 4, 6};
  expect_refused({"offsets starts at 1, expected 0"});
}

TEST_F(DatasetTest, RefusesOffsetsThatDoNotEndWithTheTokens) {
  file_.offsets = {0, 3, 4, 5};
  expect_refused({"offsets ends at 5, expected 6"});
  file_.offsets = {0, 3, 4, 7};
  expect_refused({"offsets ends at 7, expected 6"});
}

TEST_F(DatasetTest, RefusesFallingOffsets) {
  file_.offsets = {0, 4, 3, 6};
  expect_refused({"offsets falls from 4 to 3 after sequence 1"});
  file_.offsets = {0, -2, 4, 6};
  expect_refused({"offsets falls from 0 to -2"});
  file_.offsets = {0, 3, 9, 6};  // past the end, then back
  expect_refused({"offsets falls from 9 to 6"});
}

TEST_F(DatasetTest, RefusesAnEmptySequenceByIndex) {
  file_.offsets = {0, 3, 3, 4, 6};
  expect_refused({"sequence 1 is empty"});
}

TEST_F(DatasetTest, RefusesAnIdOutsideTheVocabularyBySequenceAndPosition) {
  file_.tokens[5] = 10;
  expect_refused({"sequence 2 has id 10 at position 1", "vocabulary of 10"});
  file_.tokens = {5, 6, -1, 8, 9, 4};
  expect_refused({"sequence 0 has id -1 at position 2"});
}

TEST_F(DatasetTest, RefusesAMaskOfAnotherLength) {
  file_.loss_mask = {{0, 1, 1, 0, 0}};
  expect_refused({"loss_mask has 5 entries, expected 6"});
}

TEST_F(DatasetTest, RefusesAMaskValueThatIsNeitherZeroNorOne) {
  file_.loss_mask = {{0, 1, 2, 0, 0, 1}};
  expect_refused({"loss_mask has 2 at entry 2"});
}

TEST_F(DatasetTest, RefusesAFirstTokenAsTarget) {
  file_.loss_mask = {{0, 1, 1, 0, 1, 1}};
  expect_refused({"first token of sequence 2"});
}

TEST_F(DatasetTest, RefusesASetWithoutAnyTarget) {
  file_.loss_mask = {{0, 0, 0, 0, 0, 0}};
  expect_refused({"no token is a target"});
  file_ = {{5, 6}, {0, 1, 2}, std::nullopt, file_.metadata, {}};  // only sequences of one token
  expect_refused({"no token is a target"});
}

TEST_F(DatasetTest, AnOverlongSequenceIsAnErrorUnlessSaidOtherwise) {
  expect_error(ExitStatus::kBadInput, {"sequence 0 has 3 tokens", "limit of 2", "data.overlong"}, [&] { read(10, 2); });
}

TEST_F(DatasetTest, TruncationCutsAndCounts) {
  const Dataset dataset = read(10, 2, Overlong::kTruncate);
  ASSERT_EQ(dataset.size(), 3);
  EXPECT_THAT(dataset[0].tokens, ElementsAre(5, 6));
  EXPECT_THAT(dataset[2].tokens, ElementsAre(9, 4));  // exactly at the limit
  EXPECT_EQ(dataset.cut(), 1);
  EXPECT_EQ(dataset.dropped(), 0);
  EXPECT_EQ(dataset.longest(), 2);
  EXPECT_EQ(dataset.tokens(), 5);
  EXPECT_EQ(dataset.targets(), 2);
}

TEST_F(DatasetTest, TruncationMayTakeASequencesOnlyTargets) {
  file_.loss_mask = {{0, 0, 1, 0, 0, 1}};
  const Dataset dataset = read(10, 2, Overlong::kTruncate);
  EXPECT_EQ(dataset.target_count(0), 0);
  EXPECT_EQ(dataset.without_targets(), 2);
  EXPECT_EQ(dataset.targets(), 1);
}

TEST_F(DatasetTest, TruncationThatTakesAllTargetsIsRefused) {
  expect_error(ExitStatus::kBadInput, {"no token is a target", "after truncation"},
               [&] { read(10, 1, Overlong::kTruncate); });
}

TEST_F(DatasetTest, DroppingCountsAndKeepsTheOthers) {
  const Dataset dataset = read(10, 2, Overlong::kDrop);
  ASSERT_EQ(dataset.size(), 2);
  EXPECT_THAT(dataset[0].tokens, ElementsAre(8));
  EXPECT_THAT(dataset[1].tokens, ElementsAre(9, 4));
  EXPECT_EQ(dataset.dropped(), 1);
  EXPECT_EQ(dataset.cut(), 0);
}

TEST_F(DatasetTest, DroppingEverySequenceIsRefused) {
  file_ = {{5, 6, 7, 8}, {0, 2, 4}, std::nullopt, file_.metadata, {}};
  expect_error(ExitStatus::kBadInput, {"all 2 sequences are longer than 1"}, [&] { read(10, 1, Overlong::kDrop); });
}

TEST_F(DatasetTest, TheFingerprintKnowsTokensBoundsAndMaskButNotTheName) {
  const std::string before = read().fingerprint();
  file_.loss_mask = {{0, 1, 1, 0, 0, 1}};  // what no mask means
  file_.metadata["source"] = "elsewhere";
  EXPECT_EQ(read().fingerprint(), before);
  file_.loss_mask = {{0, 1, 0, 0, 0, 1}};
  EXPECT_NE(read().fingerprint(), before);
  file_.loss_mask.reset();
  file_.tokens[4] = 3;
  EXPECT_NE(read().fingerprint(), before);
  file_.tokens[4] = 9;
  file_.offsets = {0, 2, 4, 6};
  EXPECT_NE(read().fingerprint(), before);
}

}  // namespace
}  // namespace shardora
