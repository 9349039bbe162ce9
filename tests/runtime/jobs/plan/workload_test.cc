// What steps are made of, with and without a dataset.
#include "runtime/jobs/plan/workload.h"

#include <gtest/gtest.h>

#include <numeric>

#include "runtime/jobs/plan/shapes.h"
#include "tests/runtime/data/dataset_file.h"
#include "tests/support/temporary_folder.h"

namespace shardora {
namespace {

RunOptions options_of(std::int64_t global_batch, std::int64_t micro_batch_tokens) {
  RunOptions options;
  options.train.global_batch = global_batch;
  options.train.micro_batch_tokens = micro_batch_tokens;
  options.data.shuffle = false;
  return options;
}

PackingOptions packing_of(const RunOptions& options) {
  return {options.train.micro_batch_tokens, options.data.packing};
}

TEST(Workload, WithoutADatasetHasSequencesOfOneLength) {
  RunOptions options = options_of(7, 100);
  options.data.sequence_length = 40;
  options.plan.tokens = 1000;
  const Workload workload(options, shape_preset("260K", ""));
  EXPECT_EQ(workload.longest(), 40);
  EXPECT_EQ(workload.tokens_per_step(), 280);
  EXPECT_EQ(workload.steps(), 4);
  const ModelUse plan = workload.model_use(packing_of(options));
  EXPECT_EQ(plan.limits.tokens, 100);
  EXPECT_EQ(plan.limits.sequences, 2);
  const StepLoad rank = workload.load(2, packing_of(options));  // 4 of the 7
  EXPECT_EQ(rank.tokens, 160);
  EXPECT_EQ(rank.targets, 156);
  EXPECT_EQ(rank.micro_batches, 2);
  options.data.packing = false;
  EXPECT_EQ(workload.load(2, packing_of(options)).micro_batches, 4);
  EXPECT_EQ(workload.model_use(packing_of(options)).limits.tokens, 40);
}

// Lengths 9, 1, 7 and 3: ranks get 9 + 1 and 7 + 3; the first of equals is taken.
TEST(Workload, OfADatasetIsThatOfTheRankWithTheMostTokens) {
  const TemporaryFolder folder;
  DatasetFile file;
  file.offsets = {0, 9, 10, 17, 20};
  file.tokens.assign(20, 5);
  write_dataset(folder / "data.safetensors", file);
  RunOptions options = options_of(3, 9);
  options.data.train = {{.path = (folder / "data.safetensors").string()}};
  options.train.steps = 1;
  const Workload workload(options, shape_preset("260K", ""));
  EXPECT_EQ(workload.tokens_per_step(), 17);
  EXPECT_EQ(workload.steps(), 1);
  const StepLoad rank = workload.load(2, packing_of(options));  // 9 against 7 + 1
  EXPECT_EQ(rank.tokens, 9);
  EXPECT_EQ(rank.targets, 8);
  EXPECT_EQ(rank.micro_batches, 1);
  EXPECT_EQ(rank.lengths, std::vector<std::int64_t>{9});
  const StepLoad all = workload.load(1, packing_of(options));
  EXPECT_EQ(all.tokens, 17);
  EXPECT_EQ(all.micro_batches, 2);  // 9; 1 + 7
}

}  // namespace
}  // namespace shardora
