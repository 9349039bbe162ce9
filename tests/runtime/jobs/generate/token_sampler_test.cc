// What may be drawn, exactly; and how often, by chi-square.
#include "runtime/jobs/generate/token_sampler.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <numeric>

#include "kernels/random.h"

namespace shardora {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

std::vector<std::int32_t> tokens_of(TokenSampler& sampler, const std::vector<float>& logits) {
  std::vector<std::int32_t> tokens;
  for (const TokenSampler::Choice& choice : sampler.choices(logits)) tokens.push_back(choice.token);
  return tokens;
}

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)) + 3.0F);
  return logits;
}

const std::vector<float> kLogits = logits_of({0.05, 0.3, 0.1, 0.4, 0.15});

TEST(TokenSampler, TopKKeepsTheMostProbableAndAllThatEqualTheLastOfThem) {
  TokenSampler two({.top_k = 2}), more({.top_k = 9});
  EXPECT_THAT(tokens_of(two, kLogits), UnorderedElementsAre(1, 3));
  EXPECT_EQ(tokens_of(more, kLogits).size(), 5U);
  TokenSampler tied({.top_k = 2});
  EXPECT_THAT(tokens_of(tied, {1.0F, 5.0F, 2.0F, 2.0F, 2.0F}), UnorderedElementsAre(1, 2, 3, 4));
}

TEST(TokenSampler, TopPKeepsATokenWhileThoseBeforeItHaveLess) {
  const auto kept = [](double top_p) {
    TokenSampler sampler({.top_p = top_p});
    return tokens_of(sampler, kLogits);
  };
  EXPECT_THAT(kept(0.01), ElementsAre(3));
  EXPECT_THAT(kept(0.39), ElementsAre(3));
  EXPECT_THAT(kept(0.41), ElementsAre(3, 1));
  EXPECT_THAT(kept(0.69), ElementsAre(3, 1));
  EXPECT_THAT(kept(0.71), ElementsAre(3, 1, 4));
  EXPECT_THAT(kept(0.99), ElementsAre(3, 1, 4, 2, 0));
  EXPECT_EQ(kept(1).size(), 5U);
}

TEST(TokenSampler, EqualProbabilitiesGoByTheLowerId) {
  TokenSampler sampler({.top_p = 0.5});
  EXPECT_THAT(tokens_of(sampler, {2.0F, 2.0F, 2.0F, 2.0F}), ElementsAre(0, 1));
}

// top_p counts what temperature and top_k have left.
TEST(TokenSampler, CutsInTheOrderTemperatureTopKTopP) {
  TokenSampler after_top_k({.top_k = 3, .top_p = 0.8});  // of 0.4, 0.3, 0.15: 0.47, 0.35, 0.18
  EXPECT_THAT(tokens_of(after_top_k, kLogits), ElementsAre(3, 1));
  TokenSampler without({.top_p = 0.8});
  EXPECT_THAT(tokens_of(without, kLogits), ElementsAre(3, 1, 4));
  TokenSampler cold({.temperature = 0.2, .top_p = 0.8});
  EXPECT_THAT(tokens_of(cold, kLogits), ElementsAre(3));
}

// Draws with counter-based numbers, as generation does, and compares counts with the weights of what may be drawn.
double chi_square(const SamplingRule& rule, const std::vector<double>& expected, int draws) {
  TokenSampler sampler(rule);
  std::vector<int> counts(kLogits.size());
  for (int i = 0; i < draws; ++i) {
    const RandomKey key = random_key(random_key(5, "generate"), static_cast<std::uint64_t>(i));
    const double uniform = static_cast<double>(random_bits(key, 3) >> 11U) * 0x1p-53;
    ++counts[static_cast<std::size_t>(sampler.draw(kLogits, uniform))];
  }
  const double whole = std::accumulate(expected.begin(), expected.end(), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double wanted = draws * expected[i] / whole;
    if (wanted == 0) {
      EXPECT_EQ(counts[i], 0) << i;
    } else {
      sum += (counts[i] - wanted) * (counts[i] - wanted) / wanted;
    }
  }
  return sum;
}

TEST(TokenSampler, DrawsByTheSoftmax) {
  constexpr int kDraws = 40000;
  constexpr double kFourFreedoms = 18.5, kTwoFreedoms = 13.8, kOneFreedom = 10.8;  // exceeded once in 1000
  EXPECT_LT(chi_square({}, {0.05, 0.3, 0.1, 0.4, 0.15}, kDraws), kFourFreedoms);
  EXPECT_LT(chi_square({.temperature = 2},
                       {std::sqrt(0.05), std::sqrt(0.3), std::sqrt(0.1), std::sqrt(0.4), std::sqrt(0.15)}, kDraws),
            kFourFreedoms);
  EXPECT_LT(chi_square({.top_k = 3}, {0, 0.3, 0, 0.4, 0.15}, kDraws), kTwoFreedoms);
  EXPECT_LT(chi_square({.top_p = 0.5}, {0, 0.3, 0, 0.4, 0}, kDraws), kOneFreedom);
  EXPECT_GT(chi_square({}, {0.06, 0.3, 0.1, 0.4, 0.14}, kDraws), kFourFreedoms) << "the test sees a wrong share";
}

TEST(TokenSampler, EveryUniformFallsIntoAChoice) {
  TokenSampler sampler({.top_k = 2});
  EXPECT_EQ(sampler.draw(kLogits, 0), 1);
  EXPECT_EQ(sampler.draw(kLogits, std::nextafter(1.0, 0.0)), 3);
}

}  // namespace
}  // namespace shardora
