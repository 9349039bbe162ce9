// Who goes together, and where each token's key and value lie.
#include "runtime/jobs/generate/cached_batches.h"

#include <gmock/gmock.h>

#include "runtime/jobs/generate/prompt_groups.h"

namespace shardora {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PromptGroups, HoldWhatFitsInOrderAndALargerPromptAlone) {
  const std::vector<PromptSize> prompts = {{3, 5}, {4, 5}, {30, 5}, {2, 1}, {2, 5}};  // rows: 7, 8, 34, 2, 6
  const auto groups = group_prompts(prompts, 0, 1, {.beams = 1, .tokens = 16, .rows = 256});
  ASSERT_THAT(groups, SizeIs(3));
  EXPECT_THAT(groups[0].prompts, ElementsAre(0, 1));
  EXPECT_EQ(groups[0].prompt_tokens, 7);
  EXPECT_EQ(groups[0].cache_rows, 15);
  EXPECT_EQ(groups[0].most_rows, 2);
  EXPECT_THAT(groups[1].prompts, ElementsAre(2));
  EXPECT_THAT(groups[2].prompts, ElementsAre(3, 4));
}

TEST(PromptGroups, CountEveryBeam) {
  const std::vector<PromptSize> prompts(6, {3, 2});
  for (const PromptGroup& group : group_prompts(prompts, 0, 1, {.beams = 3, .tokens = 24, .rows = 256})) {
    EXPECT_THAT(group.prompts, SizeIs(2));
    EXPECT_EQ(group.cache_rows, 24);
  }
  for (const PromptGroup& group : group_prompts(prompts, 0, 1, {.beams = 3, .tokens = 1000, .rows = 11})) {
    EXPECT_THAT(group.prompts, SizeIs(3));
    EXPECT_EQ(group.most_rows, 9);
  }
}

TEST(PromptGroups, EveryPromptIsOneDataRanks) {
  const std::vector<PromptSize> prompts(7, {3, 2});
  std::vector<int> seen(7);
  for (int rank = 0; rank < 3; ++rank) {
    for (const PromptGroup& group : group_prompts(prompts, rank, 3, {.beams = 1, .tokens = 8, .rows = 256})) {
      for (const std::int64_t prompt : group.prompts) ++seen[static_cast<std::size_t>(prompt)];
    }
  }
  EXPECT_THAT(seen, testing::Each(1));
  EXPECT_THAT(group_prompts(prompts, 8, 9, {.beams = 1, .tokens = 8, .rows = 256}), IsEmpty());
}

TEST(CachedBatches, BeginWithWholePromptsAndGoOnWithOneTokenOfEachBeam) {
  const std::vector<std::int32_t> first = {11, 12, 13}, second = {21, 22};
  CachedBatches batches;
  const CachedBatch& whole =
      batches.start(std::vector<CachedBatches::Prompt>{{.tokens = first, .rows = 5}, {.tokens = second, .rows = 3}}, 2);
  EXPECT_THAT(whole.batch.tokens, ElementsAre(11, 12, 13, 21, 22));
  EXPECT_THAT(whole.batch.positions, ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(whole.batch.offsets, ElementsAre(0, 3, 5));
  EXPECT_THAT(whole.batch.target_rows, ElementsAre(2, 4));
  EXPECT_THAT(whole.places.rows, ElementsAre(0, 1, 2, 10, 11));  // beams of 5, 5, 3 and 3 rows
  EXPECT_THAT(whole.places.key_offsets, IsEmpty());

  const CachedBatch& next = batches.next(std::vector<CachedBatches::Row>{
      {.prompt = 0, .beam = 1, .token = 14, .position = 3}, {.prompt = 1, .beam = 0, .token = 23, .position = 2}});
  EXPECT_THAT(next.batch.tokens, ElementsAre(14, 23));
  EXPECT_THAT(next.batch.positions, ElementsAre(3, 2));
  EXPECT_THAT(next.batch.target_rows, ElementsAre(0, 1));
  EXPECT_THAT(next.places.rows, ElementsAre(8, 12));
  EXPECT_THAT(next.places.query_offsets, ElementsAre(0, 1, 1, 2));
  EXPECT_THAT(next.places.key_offsets, ElementsAre(5, 9, 10, 13));
  EXPECT_EQ(batches.row(1, 1, 2), 15);
}

}  // namespace
}  // namespace shardora
