// The tokens that may come next, from logits that the ranks hold by columns: the same on every rank, the lower id first
// where logits are equal, and nothing of a model that is damaged.
#include "runtime/jobs/generate/next_tokens.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/small_model.h"

namespace shardora {
namespace {

using testing::SmallModel;

// Heads for one to four ranks.
ModelConfig config() {
  ModelConfig config = testing::small_config();
  config.num_attention_heads = config.num_key_value_heads = 12;
  return config;
}

class NextTokensTest : public ::testing::Test {
 protected:
  // This rank's columns of rows over the whole vocabulary, on the device.
  TensorView own_columns(const std::vector<std::vector<float>>& rows) {
    const Range columns = model_.model().decoder().vocabulary();
    std::vector<float> own;
    for (const std::vector<float>& row : rows) {
      own.insert(own.end(), row.begin() + columns.begin, row.begin() + columns.begin + columns.size);
    }
    return to_device(own, {std::ssize(rows), columns.size});
  }
  Decoder::RowSums sums_of(const std::vector<std::vector<float>>& rows) {
    std::vector<float> largest, sums;
    for (const std::vector<float>& row : rows) {
      largest.push_back(*std::max_element(row.begin(), row.end()));
      sums.push_back(0);
      for (const float logit : row) sums.back() += std::exp(logit - largest.back());
    }
    const Shape shape{std::ssize(rows)};
    return {.largest = to_device(largest, shape), .sums = to_device(sums, shape)};
  }
  TensorView to_device(const std::vector<float>& values, Shape shape) {
    buffers_.emplace_back(model_.backend(), std::ssize(values) * 4);
    const TensorView device{buffers_.back().data(), DType::kF32, shape};
    model_.backend().copy_from_host(device, view_of(std::span(values), shape));
    model_.backend().synchronize();
    return device;
  }
  std::vector<Candidate> choose(const NextTokens::Rule& rule, const std::vector<std::vector<float>>& rows,
                                const std::vector<double>& uniforms = {}) {
    const Context context{model_.backend(), model_.grid(), log_, stop_, ""};
    NextTokens next(context, model_.model().decoder(), rule, std::ssize(rows));
    const auto found = next.choose(own_columns(rows), sums_of(rows), uniforms);
    return {found.begin(), found.end()};
  }

  Log log_{0, true};
  std::atomic<bool> stop_ = false;
  SmallModel model_{testing::small_options({}), config(), false, false};
  std::vector<DeviceBuffer> buffers_;
};

// Equal ones stand on different ranks as well.
TEST_F(NextTokensTest, TheBestComeFirstAndOfEqualOnesTheLowerId) {
  std::vector<float> row(53, -4.0F), flat(53, 0.5F);
  row[50] = row[3] = row[27] = 2.0F;
  row[10] = 3.0F;
  const std::vector<Candidate> found = choose({.candidates = 3}, {row, flat});
  const std::vector<std::int32_t> expected = {10, 3, 27, 0, 1, 2};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(found[i].token, expected[i]) << i;
  const double whole = std::exp(3.0) + 3 * std::exp(2.0) + 49 * std::exp(-4.0);
  EXPECT_NEAR(found[0].log_probability, 3 - std::log(whole), 1e-6);
  EXPECT_NEAR(found[1].log_probability, 2 - std::log(whole), 1e-6);
  EXPECT_NEAR(found[3].log_probability, -std::log(53.0), 1e-6);
}

TEST_F(NextTokensTest, ADrawnTokenHasItsProbabilityUnderTheModel) {
  std::vector<float> row(53, -30.0F);
  row[40] = 1.0F;
  row[41] = 0.0F;
  const NextTokens::Rule rule{.sampling = SamplingRule{.temperature = 100, .top_k = 2}};  // nearly one half each
  const std::vector<Candidate> found = choose(rule, {row, row}, {0.25, 0.75});
  EXPECT_EQ(found[0].token, 40);
  EXPECT_EQ(found[1].token, 41);
  EXPECT_NEAR(found[1].log_probability, -std::log(1 + std::exp(1.0)), 1e-6);
}

TEST_F(NextTokensTest, DamagedLogitsAreRefusedByEveryRank) {
  std::vector<float> row(53, 1.0F);
  row[7] = std::nanf("");
  EXPECT_THROW(choose({}, {row}), Error);
}

}  // namespace
}  // namespace shardora
