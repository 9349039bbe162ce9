// Dropout: the mask belongs to the logical element, wherever and beside whatever it is computed.
#include <array>

#include "kernels/philox.h"
#include "kernels/random.h"
#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::Vector;

constexpr std::int64_t kDropoutTokens = 19;
constexpr std::int64_t kDropoutWidth = 203;

class DropoutTest : public support::ActivationTest {
 protected:
  // The mask of tokens [first_token, + tokens) and features [first_feature, + width).
  std::vector<float> mask(std::int64_t first_token, std::int64_t tokens, std::int64_t first_feature, std::int64_t width,
                          float probability = 0.3F) {
    std::vector<std::int64_t> sequences;
    std::vector<std::int64_t> positions;
    for (std::int64_t t = first_token; t < first_token + tokens; ++t) {
      sequences.push_back((std::int64_t{1} << 40) + t / 7);
      positions.push_back(t % 7);
    }
    const TensorView y = unwritten_activations({tokens, width});
    dropout(*backend_, {.x = activations({tokens, width}, Vector(index(tokens * width), 1)),
                        .y = y,
                        .key = key_,
                        .sequence_indices = make<std::int64_t>({tokens}, sequences),
                        .positions = ints(positions),
                        .first_feature = first_feature,
                        .probability = probability});
    return read(y);
  }
  RandomKey key_ = random_key(random_key(1, "dropout", "layers.0.q"), 5);
};

TEST_P(DropoutTest, MaskIsTheSameAtEverySplitOfTokensAndFeatures) {
  const std::vector<float> whole = mask(0, kDropoutTokens, 0, kDropoutWidth);
  for (const auto& [first_token, tokens, first_feature, width] :
       {std::array<std::int64_t, 4>{0, kDropoutTokens, 0, 100},
        {0, kDropoutTokens, 100, 103},
        {3, 9, 1, 66},
        {18, 1, 2, 201},
        {5, 2, 3, 1},
        {4, 4, 63, 5},
        {0, 0, 0, 8},
        {2, 3, 202, 1}}) {
    const std::vector<float> part = mask(first_token, tokens, first_feature, width);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t j = 0; j < width; ++j) {
        ASSERT_EQ(part[index(t * width + j)], whole[index((first_token + t) * kDropoutWidth + first_feature + j)])
            << "token " << first_token + t << " feature " << first_feature + j;
      }
    }
  }
}

TEST_P(DropoutTest, EveryKeptElementIsScaledAndTheirShareIsRight) {
  for (const float probability : {0.0F, 0.05F, 0.5F, 0.9F}) {
    const std::vector<float> values = mask(0, 200, 0, 1000, probability);
    double kept = 0;
    for (const float value : values) {
      if (value == 0) continue;
      ASSERT_FLOAT_EQ(value, static_cast<float>(rounded({1 / (1 - probability)})[0]));
      kept += 1;
    }
    const auto count = static_cast<double>(values.size());
    EXPECT_NEAR(kept / count, 1 - probability, 5 * std::sqrt(probability * (1 - probability) / count));
  }
}

// The same elements on every backend, and of either type.
TEST_P(DropoutTest, DropsWhatThePhiloxWordsSay) {
  for (const std::int64_t width : {1, 40, 127, 520}) {
    for (const std::int64_t first_feature : {0, 4, 5}) {
      const std::vector<float> values = mask(2, 17, first_feature, width, 0.4F);
      const std::uint32_t threshold = philox::drop_threshold(0.4F);
      for (std::int64_t t = 0; t < 17; ++t) {
        for (std::int64_t j = 0; j < width; ++j) {
          const std::uint64_t sequence = (std::uint64_t{1} << 40U) + static_cast<std::uint64_t>((t + 2) / 7);
          const auto feature = static_cast<std::uint32_t>(first_feature + j);
          const auto [w0, w1, w2, w3] = philox::random_words({philox::low_half(sequence), philox::high_half(sequence),
                                                              static_cast<std::uint32_t>((t + 2) % 7), feature / 4},
                                                             key_.value);
          const std::uint32_t word = std::array{w0, w1, w2, w3}[feature % 4];
          ASSERT_EQ(values[index(t * width + j)] == 0, word < threshold) << "token " << t << " feature " << feature;
        }
      }
    }
  }
}

TEST_P(DropoutTest, MasksDifferByKeyPlacePositionAndFeature) {
  const std::vector<float> first = mask(0, kDropoutTokens, 0, kDropoutWidth, 0.5F);
  const auto row = [&](std::int64_t t) {
    return std::vector<float>(first.begin() + t * kDropoutWidth, first.begin() + (t + 1) * kDropoutWidth);
  };
  EXPECT_NE(row(0), row(1));  // another position
  EXPECT_NE(row(0), row(7));  // another place
  EXPECT_NE(mask(0, 1, 0, 101, 0.5F), mask(0, 1, 102, 101, 0.5F));
  key_ = random_key(random_key(1, "dropout", "layers.0.q"), 6);
  EXPECT_NE(mask(0, kDropoutTokens, 0, kDropoutWidth, 0.5F), first);
}

TEST_P(DropoutTest, WritesInPlaceOrAccumulates) {
  for (const std::int64_t width : {127, 128}) {
    const Shape shape{17, width};
    const Vector before = drawn(shape.elements(), 2);
    Dropout op{.x = activations(shape, support::random_vector(shape.elements(), 1)),
               .y = unwritten_activations(shape),
               .key = key_,
               .sequence_indices = make<std::int64_t>({17}, std::vector<std::int64_t>(17, 4)),
               .positions = make<std::int32_t>({17}, support::random_vector(17, 3, 0, 1000)),
               .probability = 0.4F};
    dropout(*backend_, op);
    const std::vector<float> written = read(op.y);
    op.y = activations(shape, before);
    op.accumulate = true;
    dropout(*backend_, op);
    Vector expected(before);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += written[i];
    support::expect_close(read(op.y), expected, narrow() ? 2 * support::kBf16 : support::kFp32, "accumulated");
    op.y = op.x;
    op.accumulate = false;
    dropout(*backend_, op);
    EXPECT_EQ(read(op.x), written);
  }
}

TEST_P(DropoutTest, NotANumberIsNeverHidden) {
  const TensorView y = unwritten_activations({1, 64});
  dropout(*backend_, {.x = activations({1, 64}, Vector(64, std::nan(""))),
                      .y = y,
                      .key = key_,
                      .sequence_indices = make<std::int64_t>({1}, Vector{0}),
                      .positions = ints({0}),
                      .probability = 0.5F});
  for (const float value : read(y)) EXPECT_TRUE(std::isnan(value));  // dropped: 0 * NaN
}

SHARDORA_OVER_TYPES(DropoutTest);

}  // namespace
}  // namespace shardora
