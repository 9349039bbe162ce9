// The work of a step against figures counted by hand.
#include "runtime/observe/cost_model.h"

#include <gtest/gtest.h>

namespace shardora {
namespace {

// Llama 3 8B. A layer's products: q and o 2 x 4096 x 4096, k and v 2 x 4096 x 1024, gate, up and down 3 x 4096 x 14336.
ModelConfig eight_billion() {
  ModelConfig config{.hidden_size = 4096,
                     .intermediate_size = 14336,
                     .num_hidden_layers = 32,
                     .num_attention_heads = 32,
                     .num_key_value_heads = 8,
                     .head_dim = 128,
                     .vocab_size = 128256};
  config.sliding_windows.assign(32, 0);
  return config;
}
constexpr double kLayer = 218'103'808, kHead = 525'336'576;
constexpr std::int64_t kAdapter = 16 * 2'621'440;  // r = 16; in + out: 2 x 8192, 2 x 5120, 3 x 18432, of 32 layers

ModelSizes adapted_eight_billion() {
  ModelSizes sizes = sizes_of(eight_billion());
  for (LinearSizes& linear : sizes.linears) linear.adapter_rank = 16;
  return sizes;
}

TEST(ModelFlops, OfFrozenWeightsAreFourAParameterAndToken) {
  const ModelFlops flops(adapted_eight_billion());
  const double tokens = 4096, attention = 3.5 * (2 * 32 * tokens * 4096) * tokens;
  EXPECT_DOUBLE_EQ(flops.of_sequence(4096), (4 * 32 * kLayer + 6.0 * kAdapter) * tokens + attention);
  EXPECT_DOUBLE_EQ(flops.of_targets(4096), 4 * kHead * tokens);
  // 30.02 + 0.25 + 3.76 GFLOP a token.
  EXPECT_NEAR((flops.of_sequence(4096) + flops.of_targets(4096)) / tokens, 34.03e9, 0.005e9);
}

TEST(ModelFlops, OfATrainedWeightHaveItsGradientToo) {
  ModelSizes sizes = sizes_of(eight_billion());
  sizes.full = true;
  const ModelFlops flops(sizes);
  EXPECT_DOUBLE_EQ(flops.of_sequence(1), 6 * 32 * kLayer + 7 * 32 * 4096.0);
  EXPECT_DOUBLE_EQ(flops.of_targets(3), 6 * kHead * 3);
}

TEST(ModelFlops, GrowWithTheSquareOfEachSequencesOwnLength) {
  const ModelFlops flops(adapted_eight_billion());
  const double packed = flops.of_sequence(1000) + flops.of_sequence(3000), whole = flops.of_sequence(4000);
  EXPECT_DOUBLE_EQ(whole - packed, 7 * 32 * 4096 * 2 * 1000.0 * 3000);
  EXPECT_EQ(flops.of_sequence(0), 0);
}

TEST(ModelFlops, OfALayersWindowGrowWithIt) {
  ModelConfig config = eight_billion();
  config.num_hidden_layers = 3;
  config.sliding_windows = {0, 6, 10};
  const ModelFlops flops(sizes_of(config));
  // 10 tokens: pairs 50; 6 x 6 / 2 and 4 more rows of 6; a window as long as the sequence is none.
  EXPECT_DOUBLE_EQ(flops.of_sequence(10), 4 * 3 * kLayer * 10 + 2 * 7 * 4096 * (50.0 + 42 + 50));
}

TEST(ModelFlops, BelowTheLowestLayerThatTrainsThereIsNoBackwardPass) {
  ModelSizes sizes = sizes_of(eight_billion());
  sizes.lowest_trained_layer = 30;
  const ModelFlops flops(sizes);
  EXPECT_DOUBLE_EQ(flops.of_sequence(10), (2 * 30 + 4 * 2) * kLayer * 10 + (30 * 2 + 2 * 7) * 4096 * 100.0);
}

// Of 3 sequences, one of them longer than the others; two micro-batches; with DoRA.
const StepLoad kLoad{.micro_batches = 2, .tokens = 40, .targets = 37, .lengths = {10, 10, 20}};

double linears(const StepCost& cost, double LinearCost::*part) {
  double sum = 0;
  for (const LinearCost& linear : cost.linears) sum += linear.*part;
  return sum;
}

TEST(StepCost, OfAStepThatRecomputesNothingIsTheModelsFlops) {
  for (const bool full : {false, true}) {
    ModelSizes sizes = adapted_eight_billion();
    sizes.full = full;
    sizes.windows[3] = 12;
    sizes.lowest_trained_layer = 5;
    const ModelFlops flops(sizes);
    const StepCost cost = step_cost(sizes, {.head_rows = 8}, kLoad);
    EXPECT_DOUBLE_EQ(linears(cost, &LinearCost::forward_flops) + linears(cost, &LinearCost::backward_flops) +
                         linears(cost, &LinearCost::adapter_flops) + cost.attention_forward_flops +
                         cost.attention_backward_flops,
                     2 * flops.of_sequence(10) + flops.of_sequence(20));
    EXPECT_DOUBLE_EQ(cost.head.forward_flops + cost.head.backward_flops, flops.of_targets(37));
  }
}

TEST(StepCost, OfFullRecomputationHasTheForwardPassOfTrainedLayersTwice) {
  ModelSizes sizes = adapted_eight_billion();
  sizes.lowest_trained_layer = 8;
  const StepCost once = step_cost(sizes, {}, kLoad), twice = step_cost(sizes, {.recompute = Recompute::kFull}, kLoad);
  EXPECT_DOUBLE_EQ(linears(twice, &LinearCost::forward_flops), 1.75 * linears(once, &LinearCost::forward_flops));
  EXPECT_DOUBLE_EQ(twice.attention_forward_flops, 1.75 * once.attention_forward_flops);
  EXPECT_DOUBLE_EQ(linears(twice, &LinearCost::backward_flops), linears(once, &LinearCost::backward_flops));
  EXPECT_EQ(twice.head.forward_flops, once.head.forward_flops);
  EXPECT_GT(twice.elementwise_bytes, once.elementwise_bytes);
}

TEST(StepCost, HasTheShapesOfATypicalMicroBatch) {
  const StepCost cost = step_cost(sizes_of(eight_billion()), {.head_rows = 8}, kLoad);
  EXPECT_EQ(cost.rows, 20);
  EXPECT_EQ(cost.linears[1].shape.rows, 20);
  EXPECT_EQ(cost.linears[1].shape.out, 1024);  // k
  EXPECT_EQ(cost.linears[6].shape.in, 14336);  // down
  EXPECT_EQ(cost.head.shape.rows, 8);
  EXPECT_EQ(step_cost(sizes_of(eight_billion()), {.head_rows = 90}, kLoad).head.shape.rows, 18);
  EXPECT_EQ(cost.attention.length, 15);  // 600 / 40
  EXPECT_EQ(cost.attention.sequences, 1);
  EXPECT_EQ(cost.optimizer_bytes, 0);
  EXPECT_EQ(linears(cost, &LinearCost::norm_flops), 0);
  EXPECT_DOUBLE_EQ(linears(step_cost(adapted_eight_billion(), {.magnitudes = true}, kLoad), &LinearCost::norm_flops),
                   2 * 16 * 32 * kLayer);
}

}  // namespace
}  // namespace shardora
