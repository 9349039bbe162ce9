// Dropout on the CPU. Each element's mask depends on its logical place only.
#include "kernels/cpu/loops/level_loops.h"
#include "kernels/cpu/loops/loop_shapes.h"
#include "kernels/philox.h"

namespace shardora::cpu::SHARDORA_LEVEL {
namespace {

constexpr std::int64_t kBlocks = 16;             // counters drawn together
constexpr std::int64_t kFeatures = 4 * kBlocks;  // and the features they cover

struct Token {
  std::uint64_t key, sequence;
  std::uint32_t position;
};

// scales[f] = D of feature 4 * first_block + f.
void draw_scales(const Token& token, std::int64_t first_block, std::uint32_t threshold, float keep_scale,
                 float* scales) {
  std::uint32_t words[4][kBlocks];  // by word first, so that the blocks are the vector
  const auto block = static_cast<std::uint32_t>(first_block);
#pragma omp simd
  for (std::uint32_t i = 0; i < kBlocks; ++i) {
    const philox::Words drawn = philox::random_words(
        {philox::low_half(token.sequence), philox::high_half(token.sequence), token.position, block + i}, token.key);
    words[0][i] = drawn.w0;
    words[1][i] = drawn.w1;
    words[2][i] = drawn.w2;
    words[3][i] = drawn.w3;
  }
  for (std::int64_t i = 0; i < kBlocks; ++i) {
    for (std::int64_t word = 0; word < 4; ++word) {
      scales[4 * i + word] = words[word][i] < threshold ? 0.0F : keep_scale;
    }
  }
}

}  // namespace

void LevelLoops::dropout(const Dropout& op) {
  const std::int64_t tokens = op.x.size(0);
  const std::int64_t width = op.x.size(1);
  SHARDORA_CHECK(op.y.shape == op.x.shape && op.sequence_indices.elements() == tokens &&
                 op.positions.elements() == tokens);
  SHARDORA_CHECK(op.probability >= 0 && op.probability < 1 && op.first_feature >= 0);
  SHARDORA_CHECK(!op.accumulate || op.y.data != op.x.data);
  const auto* x = op.x.as<float>();
  auto* y = op.y.as<float>();
  const auto* sequences = op.sequence_indices.as<std::int64_t>();
  const auto* positions = op.positions.as<std::int32_t>();
  const std::uint32_t threshold = philox::drop_threshold(op.probability);
  const float keep_scale = 1.0F / (1.0F - op.probability);
  const std::int64_t first_feature = op.first_feature;
  const std::uint64_t key = op.key.value;
  const bool accumulate = op.accumulate;
  for_each_row(tokens, width * 4, [=](std::int64_t t) {
    const Token token{key, static_cast<std::uint64_t>(sequences[t]), static_cast<std::uint32_t>(positions[t])};
    const std::int64_t skipped = first_feature % 4;  // features of the first counter that another shard holds
    for (std::int64_t begin = -skipped; begin < width; begin += kFeatures) {
      float scales[kFeatures];
      draw_scales(token, (first_feature + begin) / 4, threshold, keep_scale, scales);
      const std::int64_t first = std::max<std::int64_t>(0, begin);
      const std::int64_t count = std::min(width, begin + kFeatures) - first;
      const float* x_part = x + t * width + first;
      float* y_part = y + t * width + first;
      const float* part_scales = scales + (first - begin);
#pragma omp simd
      for (std::int64_t j = 0; j < count; ++j) y_part[j] = part_scales[j] * x_part[j] + (accumulate ? y_part[j] : 0.0F);
    }
  });
}

}  // namespace shardora::cpu::SHARDORA_LEVEL
