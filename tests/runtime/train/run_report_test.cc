// What a run says before its first step.
#include "runtime/train/run_report.h"

#include <gmock/gmock.h>

#include "runtime/jobs/plan/shapes.h"
#include "runtime/session/model_spec.h"

namespace shardora {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string table_of(AdapterMethod method, const std::string& weights) {
  RunOptions options;
  options.adapter.method = method;
  options.adapter.rank = 8;
  const ModelConfig config = shape_preset("260K", "shape");
  const ModelUse plan{.limits = {.tokens = 64, .sequences = 2}, .positions = 32, .training = true};
  const DryRun dry_run =
      ModelSpec(options, config, nullptr, {.backend = BackendKind::kCpu, .tensor = {.rank = 1, .size = 2}}, plan)
          .dry_run();
  const ProcessGrid grid{.data = {0, 3}, .pipeline = {}, .tensor = {1, 2}};
  return start_table({.model = "a model",
                      .weights = weights,
                      .device = "a device",
                      .parameters = 260'032,
                      .trained = dry_run.parameters,
                      .grid = grid,
                      .first_step = 5,
                      .steps = 9,
                      .sequences = 6,
                      .micro_batches = 1,
                      .memory = dry_run.memory});
}

TEST(StartTable, SaysWhatTrainsByKindAndItsShareOfAll) {
  EXPECT_THAT(table_of(AdapterMethod::kDora, "kept"),
              AllOf(HasSubstr("  trained            49240 parameters, 18.9 % of all: A 22240, B 24000, m 3000\n"),
                    HasSubstr("  frozen weights     kept\n")));
  EXPECT_THAT(table_of(AdapterMethod::kLora, "kept"),
              HasSubstr("  trained            46240 parameters, 17.8 % of all: A 22240, B 24000\n"));
  EXPECT_THAT(table_of(AdapterMethod::kFull, ""),
              AllOf(HasSubstr("  trained            260032 parameters, 100 % of all: weights 260032\n"),
                    Not(HasSubstr("frozen"))));
}

TEST(StartTable, SaysTheSplitTheStepsAndTheMemory) {
  EXPECT_THAT(table_of(AdapterMethod::kDora, ""),
              AllOf(HasSubstr("  ranks              6 = 3 data x 2 tensor\n"),
                    HasSubstr("  steps              5 to 9, of 6 sequences; the first takes 1 micro-batch on rank 0\n"),
                    HasSubstr("memory of a rank: peak"), HasSubstr("\n  activations ")));
}

}  // namespace
}  // namespace shardora
