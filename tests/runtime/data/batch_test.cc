// Dealing and packing: every sequence once, nothing leaks between sequences, targets where the next token is one.
#include "runtime/data/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>

#include "tests/runtime/data/dataset_file.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

using testing::ElementsAre;

class BatchTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  Dataset dataset_ = dataset_of(folder_ / "d", {4, 1, 3, 17, 2, 5, 4, 1, 6, 2});
  std::array<const Dataset*, 1> datasets_ = {&dataset_};

  std::vector<SequenceRef> all() const {
    std::vector<SequenceRef> refs;
    for (std::int64_t i = 0; i < dataset_.size(); ++i) refs.push_back({0, i, i});
    return refs;
  }
  std::vector<Batch> batches(std::vector<SequenceRef> refs, PackingOptions options, int rank = 0, int size = 1) const {
    return micro_batches(refs, datasets_, rank, size, options);
  }
};

TEST_F(BatchTest, PacksWholeSequencesWithPositionsThatRestart) {
  const auto packed = batches({{0, 0, 0}, {0, 1, 1}, {0, 2, 2}}, {.micro_batch_tokens = 8});
  ASSERT_EQ(packed.size(), 1U);
  const Batch& batch = packed[0];
  EXPECT_THAT(batch.tokens, ElementsAre(0, 1, 2, 3, 100, 200, 201, 202));
  EXPECT_THAT(batch.positions, ElementsAre(0, 1, 2, 3, 0, 0, 1, 2));
  EXPECT_THAT(batch.sequence_indices, ElementsAre(0, 0, 0, 0, 1, 2, 2, 2));
  EXPECT_THAT(batch.offsets, ElementsAre(0, 4, 5, 8));
  EXPECT_THAT(batch.target_rows, ElementsAre(0, 1, 2, 5, 6));  // never a sequence's last row
  EXPECT_THAT(batch.targets, ElementsAre(1, 2, 3, 201, 202));
}

TEST_F(BatchTest, ARowIsATargetRowWhereTheNextTokenIsMasked) {
  write_dataset(folder_ / "m",
                {{5, 6, 7, 8, 9, 4}, {0, 4, 6}, {{0, 0, 1, 1, 0, 1}}, {{"format", "shardora.dataset.v1"}}, {}});
  const Dataset masked(folder_ / "m", 10, 10, Overlong::kError);
  const std::array<const Dataset*, 1> sets = {&masked};
  const std::vector<SequenceRef> refs = {{0, 0, 0}, {0, 1, 1}};
  const auto packed = micro_batches(refs, sets, 0, 1, {});
  ASSERT_EQ(packed.size(), 1U);
  EXPECT_THAT(packed[0].target_rows, ElementsAre(1, 2, 4));
  EXPECT_THAT(packed[0].targets, ElementsAre(7, 8, 4));
}

TEST_F(BatchTest, TheLastRowOfACutSequencePredictsNothing) {
  write_dataset(folder_ / "c", {{5, 6, 7, 8}, {0, 4}, std::nullopt, {{"format", "shardora.dataset.v1"}}, {}});
  const Dataset cut(folder_ / "c", 10, 2, Overlong::kTruncate);
  const std::array<const Dataset*, 1> sets = {&cut};
  const std::vector<SequenceRef> refs = {{0, 0, 0}};
  const auto packed = micro_batches(refs, sets, 0, 1, {});
  EXPECT_THAT(packed[0].tokens, ElementsAre(5, 6));
  EXPECT_THAT(packed[0].target_rows, ElementsAre(0));
  EXPECT_THAT(packed[0].targets, ElementsAre(6));
}

TEST_F(BatchTest, StartsANewMicroBatchWhereTheNextSequenceDoesNotFit) {
  // lengths 4 1 3 | 17 alone | 2 5 | 4 1 | 6 2, at most 8 tokens
  std::vector<std::int64_t> sizes;
  for (const Batch& batch : batches(all(), {.micro_batch_tokens = 8})) sizes.push_back(batch.size());
  EXPECT_THAT(sizes, ElementsAre(8, 17, 7, 5, 8));
}

TEST_F(BatchTest, WithoutPackingEachSequenceGoesAlone) {
  const auto alone = batches(all(), {.micro_batch_tokens = 8, .packing = false});
  ASSERT_EQ(alone.size(), 10U);
  for (const Batch& batch : alone) EXPECT_EQ(batch.offsets.size(), 2U);
}

TEST_F(BatchTest, EverySequenceIsInOneMicroBatchOfOneRank) {
  for (const int size : {1, 2, 3, 4, 5, 8, 10}) {
    for (const std::int64_t most : {1, 5, 8, 1000}) {
      std::map<std::int64_t, int> times;
      std::int64_t targets = 0;
      for (int rank = 0; rank < size; ++rank) {
        const auto mine = batches(all(), {.micro_batch_tokens = most}, rank, size);
        EXPECT_FALSE(mine.empty()) << rank << " of " << size;
        std::int64_t last_place = -1;
        for (const Batch& batch : mine) {
          targets += static_cast<std::int64_t>(batch.targets.size());
          for (std::size_t k = 0; k + 1 < batch.offsets.size(); ++k) {
            const auto first = static_cast<std::size_t>(batch.offsets[k]);
            const std::int64_t place = batch.sequence_indices[first];
            ++times[place];
            EXPECT_GT(place, last_place);  // in order of place within a rank
            last_place = place;
            EXPECT_EQ(batch.offsets[k + 1] - batch.offsets[k], dataset_.length(place));
            EXPECT_EQ(batch.tokens[first], 100 * place);
          }
        }
      }
      EXPECT_EQ(times.size(), 10U);
      for (const auto& [place, count] : times) EXPECT_EQ(count, 1) << place;
      EXPECT_EQ(targets, dataset_.targets());
    }
  }
}

TEST_F(BatchTest, DealsTheLongestFirstToTheLightestRank) {
  // 17 to rank 0; 6, 5, 4 and the first length-3 and so on to rank 1 until it is heavier.
  std::vector<std::int64_t> loads;
  for (int rank = 0; rank < 2; ++rank) {
    std::int64_t load = 0;
    for (const Batch& batch : batches(all(), {.micro_batch_tokens = 1000}, rank, 2)) load += batch.size();
    loads.push_back(load);
  }
  EXPECT_THAT(loads, ElementsAre(23, 22));  // 45 tokens
}

TEST_F(BatchTest, TiesGoToTheLowerPlaceAndRank) {
  const std::vector<SequenceRef> equal = {{0, 0, 0}, {0, 6, 1}, {0, 0, 2}};  // all of four tokens
  EXPECT_THAT(batches(equal, {}, 0, 2)[0].sequence_indices, ElementsAre(0, 0, 0, 0, 2, 2, 2, 2));
  EXPECT_THAT(batches(equal, {}, 1, 2)[0].sequence_indices, ElementsAre(1, 1, 1, 1));
}

TEST_F(BatchTest, ChangingOneSequenceChangesNothingOfItsNeighbours) {
  const auto before = batches({{0, 0, 0}, {0, 2, 1}}, {});
  const auto after = batches({{0, 6, 0}, {0, 2, 1}}, {});
  EXPECT_NE(before[0].tokens, after[0].tokens);
  EXPECT_EQ(std::vector(before[0].tokens.begin() + 4, before[0].tokens.end()),
            std::vector(after[0].tokens.begin() + 4, after[0].tokens.end()));
  EXPECT_EQ(before[0].positions, after[0].positions);
  EXPECT_EQ(before[0].target_rows, after[0].target_rows);
}

TEST_F(BatchTest, LimitsHoldForEveryStepAndAreReached) {
  for (const bool packing : {true, false}) {
    for (const std::int64_t most : {1, 3, 8, 17, 40}) {
      const PackingOptions options{.micro_batch_tokens = most, .packing = packing};
      const BatchLimits limits = batch_limits(datasets_, 10, options);
      for (const Batch& batch : batches(all(), options)) {
        EXPECT_LE(batch.size(), limits.tokens);
        EXPECT_LE(static_cast<std::int64_t>(batch.offsets.size()) - 1, limits.sequences);
      }
    }
  }
  EXPECT_EQ(batch_limits(datasets_, 10, {.micro_batch_tokens = 8}).tokens, 17);  // the longest alone
  EXPECT_EQ(batch_limits(datasets_, 10, {.micro_batch_tokens = 8}).sequences, 8);
  EXPECT_EQ(batch_limits(datasets_, 3, {.micro_batch_tokens = 8}).sequences, 3);
  EXPECT_EQ(batch_limits(datasets_, 2, {.micro_batch_tokens = 100}).tokens, 34);
  EXPECT_EQ(batch_limits(datasets_, 9, {.micro_batch_tokens = 100, .packing = false}).sequences, 1);
}

}  // namespace
}  // namespace shardora
