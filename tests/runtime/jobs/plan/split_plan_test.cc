// Plans of known models against figures that others have published or that are counted by hand.
#include <gmock/gmock.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "runtime/jobs/plan/plan_report.h"
#include "runtime/jobs/plan/shapes.h"
#include "tests/support/expect_error.h"

namespace shardora {
namespace {

constexpr double kMiB = 1 << 20;

RunOptions options_of(const std::string& shape, const std::string& device, int devices = 1) {
  RunOptions options;
  options.plan.shape = shape;
  options.plan.device = device;
  options.plan.devices = devices;
  options.data.sequence_length = 4096;
  options.train.steps = 100;
  return options;
}

const SplitPlan& split_of(const RunPlan& plan, int tensor) {
  for (const SplitPlan& split : plan.splits) {
    if (split.tensor == tensor) return split;
  }
  throw std::runtime_error("no such split");
}

std::int64_t segment(const SplitPlan& split, const std::string& name) {
  for (const MemorySegment& one : split.memory.segments) {
    if (one.name == name) return one.bytes;
  }
  return 0;
}

TEST(Plan, CountsTheTrainedParametersThatPeftCounts) {
  RunOptions options = options_of("8B", "h200");
  options.adapter.method = AdapterMethod::kLora;
  EXPECT_EQ(make_plan(options).trained_parameters(), 41'943'040);  // all-linear, r = 16
  options.adapter.rank = 8;
  options.adapter.target_modules = {"q_proj", "v_proj"};
  EXPECT_EQ(make_plan(options).trained_parameters(), 3'407'872);
  options.plan.shape = "7B";
  const RunPlan seven = make_plan(options);
  EXPECT_EQ(seven.trained_parameters(), 4'194'304);
  EXPECT_NEAR(static_cast<double>(seven.splits[0].disk.adapter_bytes), 16.8e6, 0.2e6);
  EXPECT_NEAR(static_cast<double>(seven.splits[0].disk.merged_bytes), 13.48e9, 0.02e9);
  options.adapter.method = AdapterMethod::kFull;
  EXPECT_EQ(make_plan(options).trained_parameters(), 6'738'415'616);
}

TEST(Plan, CountsOneMagnitudeForEachOutputFeature) {
  const RunPlan plan = make_plan(options_of("8B", "h200"));
  ASSERT_EQ(plan.trained.size(), 3U);
  EXPECT_EQ(plan.trained[2].first, "m");
  EXPECT_EQ(plan.trained[2].second, 32 * (4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096));
}

// 790 TFLOP/s over the model's FLOPs: 23,200, 2,650 and 471 tokens/s on an H200 at r = 16 and 4,096 tokens.
TEST(Plan, HasThePublishedFloorOfFlops) {
  const std::pair<const char*, double> floors[] = {{"8B", 23'200}, {"70B", 2'650}, {"405B", 471}};
  for (const auto& [shape, tokens] : floors) {
    EXPECT_NEAR(790e12 / make_plan(options_of(shape, "h200")).flops_per_token / tokens, 1, 0.005) << shape;
  }
}

// Between the best that anybody has published of LoRA (no norms, no gains, in bfloat16) and the floor.
TEST(Plan, IsBetweenTheBestPublicSpeedAndTheFloor) {
  RunOptions eight = options_of("8B", "h100");
  eight.adapter.method = AdapterMethod::kLora;
  const SplitPlan one = make_plan(eight).splits.at(0);
  EXPECT_TRUE(one.fits());
  EXPECT_GT(one.tokens_per_second, 12'473);
  EXPECT_LT(one.tokens_per_second, 23'200);
  RunOptions seventy = options_of("70B", "h100", 8);
  seventy.adapter.method = AdapterMethod::kLora;
  seventy.train.recompute = Recompute::kSelective;
  const SplitPlan eighth = split_of(make_plan(seventy), 8);
  EXPECT_TRUE(eighth.fits()) << eighth.lacks;
  EXPECT_GT(eighth.tokens_per_second, 8 * 1'000);
  EXPECT_LT(eighth.tokens_per_second, 8 * 2'650);
}

// Of 8B on an H200, in microseconds a token: products 40.6, attention 7.8, elementwise and adapters 6.7, loss 0.6.
TEST(Plan, HasTheKnownPartsOfAStep) {
  const SplitPlan split = make_plan(options_of("8B", "h200")).splits.at(0);
  const double micro = 1e6 / split.micro_batches / 8192;
  EXPECT_NEAR(micro * (split.time.products + split.time.head), 40.6, 4);
  EXPECT_NEAR(micro * split.time.attention, 7.8, 0.8);
  EXPECT_NEAR(micro * (split.time.elementwise + split.time.adapters), 6.7, 2);
  EXPECT_NEAR(micro * split.time.loss, 0.6, 0.1);
  EXPECT_NEAR(split.tokens_per_second, 18'000, 1'500);
}

TEST(Plan, HasTheKnownMemoryOfEightBillion) {
  RunOptions options = options_of("8B", "h200");
  const SplitPlan whole = make_plan(options).splits.at(0);
  EXPECT_NEAR(static_cast<double>(segment(whole, "weights")), 16.06e9, 0.02e9);
  EXPECT_NEAR(static_cast<double>(segment(whole, "activations")) / 8192, 4.98e6, 0.5e6);  // a token
  options.train.recompute = Recompute::kSelective;
  EXPECT_NEAR(static_cast<double>(segment(make_plan(options).splits.at(0), "activations")) / 8192, 3.54e6, 0.6e6);
  const std::int64_t before = segment(whole, "optimizer");
  EXPECT_NEAR(static_cast<double>(before), 8.0 * 43'319'296, 1e6);
}

TEST(Plan, SplitsWeightsOverTheTensorRanks) {
  const RunPlan plan = make_plan(options_of("70B", "b200", 8));
  const double one = static_cast<double>(segment(split_of(plan, 1), "weights"));
  for (const int tensor : {2, 4, 8}) {
    EXPECT_NEAR(static_cast<double>(segment(split_of(plan, tensor), "weights")), one / tensor, 64 * kMiB) << tensor;
  }
}

// Tensor ranks have a part of the model, and as many times the sequences.
TEST(Plan, SplitsTheWorkOverTheTensorRanks) {
  const RunPlan plan = make_plan(options_of("70B", "b200", 8));
  const StepTime one = split_of(plan, 1).time;
  for (const int tensor : {2, 4, 8}) {
    const StepTime split = split_of(plan, tensor).time;
    EXPECT_NEAR(split.products / one.products, 1, 1e-9) << tensor;
    EXPECT_NEAR(split.attention / one.attention, 1, 1e-9) << tensor;
    EXPECT_NEAR(split.head / one.head, 1, 1e-9) << tensor;
    EXPECT_NEAR(split.loss / one.loss, 1, 1e-9) << tensor;
  }
}

// A micro-batch of T tokens: the embedding, two sums a layer forwards and two backwards (but for the lowest layer's
// input, which nobody needs), the head's input gradient; and of each row of the head its maximum and two sums.
TEST(Plan, CountsTheSumsOverTheTensorGroup) {
  RunOptions options = options_of("70B", "b200", 2);
  options.adapter.method = AdapterMethod::kLora;
  options.train.global_batch = 4;  // two micro-batches
  const SplitPlan split = split_of(make_plan(options), 2);
  const std::int64_t tokens = 8192, of_hidden = 1 + 2 * 80 + 2 * 80 - 1 + 1;
  const std::int64_t statistics = 8192 * 3 * 4;
  EXPECT_EQ(split.traffic.tensor.bytes, 2 * (of_hidden * tokens * 8192 * 2 + statistics));
  EXPECT_GT(split.traffic.tensor_gradients.bytes, 0);
  EXPECT_EQ(split.traffic.data.bytes, 0);
  const SplitPlan data = split_of(make_plan(options), 1);
  EXPECT_EQ(data.traffic.tensor.bytes, 0);
  EXPECT_NEAR(static_cast<double>(data.traffic.data.bytes),
              4.0 * static_cast<double>(make_plan(options).trained_parameters()), 64.0 * 2000);
}

TEST(Plan, RecomputingTakesTimeForMemory) {
  RunOptions options = options_of("8B", "h200");
  const SplitPlan none = make_plan(options).splits.at(0);
  options.train.recompute = Recompute::kFull;
  const SplitPlan full = make_plan(options).splits.at(0);
  EXPECT_NEAR(full.time.products / none.time.products, 1.5, 1e-9);  // forward, forward again, input gradient
  EXPECT_LT(full.memory.peak_bytes(), none.memory.peak_bytes() / 2);
  options.train.recompute = Recompute::kSelective;
  const SplitPlan selective = make_plan(options).splits.at(0);
  EXPECT_EQ(selective.time.products, none.time.products);
  EXPECT_GT(selective.time.elementwise, none.time.elementwise);
}

// Of a host's memory each of its ranks has its part; of GPUs each has its own.
TEST(Plan, RanksOfAHostShareItsMemory) {
  RunOptions options = options_of("15M", "h100", 2);
  options.data.sequence_length = 64;
  options.train.global_batch = 2;
  options.plan.device_memory = 1.2;
  EXPECT_TRUE(split_of(make_plan(options), 1).fits());
  options.model.weight_layouts = "two";
  const ModelConfig config = shape_preset("15M", "plan.shape");
  PlanDevice host{.name = "host", .speeds = std::make_shared<TableSpeeds>(*find_device_by_word("h100"))};
  const std::int64_t one = Planner(options, config, host).evaluate(options, 1, 1).memory.growth_bytes();
  host.memory.shared = {.free_bytes = 3 * one / 2, .name = "a test"};
  const Planner planner(options, config, host);
  EXPECT_TRUE(planner.evaluate(options, 1, 1).fits());
  const SplitPlan two = planner.evaluate(options, 2, 1);
  EXPECT_NE(two.lacks.find("for each of 2 ranks"), std::string::npos) << two.lacks;
}

TEST(Plan, MarksTheFastestSplitThatFits) {
  RunOptions options = options_of("8B", "h100", 8);
  const RunPlan plan = make_plan(options);
  ASSERT_TRUE(plan.best.has_value());
  EXPECT_EQ(plan.splits[*plan.best].tensor, 1);
  for (const SplitPlan& split : plan.splits) {
    EXPECT_TRUE(!split.fits() || split.tokens_per_second <= plan.splits[*plan.best].tokens_per_second);
  }
  options.plan.device_memory = 24;
  const RunPlan small = make_plan(options);
  ASSERT_TRUE(small.best.has_value());
  EXPECT_GT(small.splits[*small.best].tensor, 1);
  EXPECT_THAT(small.why, testing::HasSubstr("a faster one does not fit"));
  EXPECT_THAT(to_text(small), testing::AllOf(testing::HasSubstr("does not fit"), testing::HasSubstr("* ")));
}

TEST(Plan, NamesWhatWouldFitWhereNothingDoes) {
  const RunPlan plan = make_plan(options_of("70B", "h100", 8));
  EXPECT_FALSE(plan.best.has_value());
  ASSERT_FALSE(plan.fitting_changes.empty());
  bool recomputes = false;
  for (const FittingChange& change : plan.fitting_changes) {
    EXPECT_TRUE(change.split.fits()) << change.text;
    EXPECT_FALSE(change.text.empty());
    recomputes = recomputes || change.text == "train.recompute = selective";
  }
  EXPECT_TRUE(recomputes);
  EXPECT_THAT(plan.splits[0].lacks, testing::HasSubstr("not enough memory"));
}

// A change that is named is one that was tried: planned again with it, the run fits.
TEST(Plan, ItsRemediesHoldWhenTheyAreFollowed) {
  RunOptions options = options_of("405B", "h100", 8);
  const RunPlan plan = make_plan(options);
  ASSERT_EQ(plan.fitting_changes.size(), 1U);
  ASSERT_EQ(plan.fitting_changes[0].text, "train.recompute = full, train.micro_batch_tokens = 4096, 16 devices");
  options.plan.devices = 16;
  options.train.recompute = Recompute::kFull;
  EXPECT_FALSE(make_plan(options).best.has_value());
  options.train.micro_batch_tokens = 4096;
  EXPECT_TRUE(make_plan(options).best.has_value()) << plan.fitting_changes[0].text;
}

TEST(Plan, TakesTheTokensOfAnEpochForTheTimeOfTheRun) {
  RunOptions options = options_of("8B", "h100");
  options.train.steps = 0;
  options.train.epochs = 3;
  options.plan.tokens = 32 * 4096 * 10 - 1;
  const RunPlan plan = make_plan(options);
  EXPECT_EQ(plan.steps, 30);
  EXPECT_EQ(to_json(plan).at("best").at("run_seconds"), 30 * plan.splits[0].time.total());
}

TEST(Plan, RefusesWhatDoesNotDivide) {
  RunOptions options = options_of("8B", "h100", 6);
  options.parallel.tensor = 4;
  expect_error(ExitStatus::kUsage, {"parallel.tensor = 4", "plan.devices = 6"}, [&] { make_plan(options); });
  options.parallel.tensor = 3;  // divides 6, and no heads
  expect_error(ExitStatus::kUsage, {"3"}, [&] { make_plan(options); });
  options.parallel.tensor = 1;
  const RunPlan plan = make_plan(options);
  EXPECT_TRUE(split_of(plan, 2).refused.empty());
  EXPECT_THAT(split_of(plan, 3).refused, testing::HasSubstr("3"));
}

TEST(Plan, RefusesAnUnknownDeviceWithTheKnownOnes) {
  expect_error(ExitStatus::kUsage, {"plan.device = h300", "this, a100, h100, h200, b200"},
               [] { make_plan(options_of("8B", "h300")); });
}

TEST(Plan, WarnsWhereOtherWorkTakesCoresThatItMeasuresOn) {
  EXPECT_EQ(host_load_warning(6.04, 2, 2),
            "the machine is busy (load 6.0 on 2 cores) while it is measured: times may be too long; plan again when it "
            "is idle");
  EXPECT_EQ(host_load_warning(1, 2, 2), "");    // what a build before it has left in the average
  EXPECT_EQ(host_load_warning(0.4, 8, 2), "");  // more threads than cores take turns
  EXPECT_EQ(host_load_warning(60, 4, 64), "");
  EXPECT_NE(host_load_warning(61.5, 4, 64), "");
  EXPECT_EQ(make_plan(options_of("8B", "h100")).warning, "");  // nothing is measured
}

TEST(Plan, OfTheLargestModelTakesLessThanASecondAndNoMemory) {
  const auto begin = std::chrono::steady_clock::now();
  RunOptions options = options_of("405B", "b200", 16);
  options.train.recompute = Recompute::kFull;
  EXPECT_TRUE(make_plan(options).best.has_value());
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 5);  // a second at rest
}

}  // namespace
}  // namespace shardora
