// Model FLOPs against figures counted by hand, and the peaks of devices by their names.
#include "runtime/observe/model_flops.h"

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

TEST(ModelFlops, OfFrozenWeightsAreFourAParameterAndToken) {
  const ModelFlops flops(eight_billion(), {.adapter_elements = kAdapter});
  const double tokens = 4096, attention = 3.5 * (2 * 32 * tokens * 4096) * tokens;
  EXPECT_DOUBLE_EQ(flops.of_sequence(4096), (4 * 32 * kLayer + 6.0 * kAdapter) * tokens + attention);
  EXPECT_DOUBLE_EQ(flops.of_targets(4096), 4 * kHead * tokens);
  // 30.02 + 0.25 + 3.76 GFLOP a token.
  EXPECT_NEAR((flops.of_sequence(4096) + flops.of_targets(4096)) / tokens, 34.03e9, 0.005e9);
}

TEST(ModelFlops, OfATrainedWeightHaveItsGradientToo) {
  const ModelFlops flops(eight_billion(), {.full = true});
  EXPECT_DOUBLE_EQ(flops.of_sequence(1), 6 * 32 * kLayer + 7 * 32 * 4096.0);
  EXPECT_DOUBLE_EQ(flops.of_targets(3), 6 * kHead * 3);
}

TEST(ModelFlops, GrowWithTheSquareOfEachSequencesOwnLength) {
  const ModelFlops flops(eight_billion(), {.adapter_elements = kAdapter});
  const double packed = flops.of_sequence(1000) + flops.of_sequence(3000), whole = flops.of_sequence(4000);
  EXPECT_DOUBLE_EQ(whole - packed, 7 * 32 * 4096 * 2 * 1000.0 * 3000);
  EXPECT_EQ(flops.of_sequence(0), 0);
}

TEST(ModelFlops, OfALayersWindowGrowWithIt) {
  ModelConfig config = eight_billion();
  config.num_hidden_layers = 3;
  config.sliding_windows = {0, 6, 10};
  const ModelFlops flops(config, {});
  // 10 tokens: pairs 50; 6 x 6 / 2 and 4 more rows of 6; a window as long as the sequence is none.
  EXPECT_DOUBLE_EQ(flops.of_sequence(10), 4 * 3 * kLayer * 10 + 2 * 7 * 4096 * (50.0 + 42 + 50));
}

TEST(ModelFlops, BelowTheLowestLayerThatTrainsThereIsNoBackwardPass) {
  const ModelFlops flops(eight_billion(), {.lowest_layer = 30});
  EXPECT_DOUBLE_EQ(flops.of_sequence(10), (2 * 30 + 4 * 2) * kLayer * 10 + (30 * 2 + 2 * 7) * 4096 * 100.0);
}

}  // namespace
}  // namespace shardora
