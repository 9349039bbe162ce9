// Beam search on a small table of log-probabilities, against a search without cleverness; and the rules at its ends.
#include "runtime/jobs/generate/beam_search.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "kernels/check.h"
#include "kernels/random.h"

namespace shardora {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Tokens = std::vector<std::int32_t>;

constexpr std::int32_t kVocabulary = 23, kEnd = 4;

// A model: what follows a continuation, as log-probabilities of all tokens.
std::vector<float> log_probabilities(const Tokens& before, std::uint64_t seed, double of_end) {
  RandomKey key = random_key(seed, "table");
  for (const std::int32_t token : before) key = random_key(key, static_cast<std::uint64_t>(token));
  std::vector<double> weights;
  weights.reserve(static_cast<std::size_t>(kVocabulary));
  for (std::int32_t token = 0; token < kVocabulary; ++token) {
    const double unit = static_cast<double>(random_bits(key, static_cast<std::uint64_t>(token)) >> 11U) * 0x1p-53;
    weights.push_back(std::exp(4 * unit) * (token == kEnd ? of_end : 1));
  }
  const double whole = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<float> result;
  result.reserve(weights.size());
  for (const double weight : weights) result.push_back(static_cast<float>(std::log(weight / whole)));
  return result;
}

std::vector<Candidate> best(const std::vector<float>& values, std::size_t count) {
  std::vector<Candidate> all;
  for (std::size_t i = 0; i < values.size(); ++i) all.push_back({static_cast<std::int32_t>(i), values[i]});
  std::stable_sort(all.begin(), all.end(),
                   [](const Candidate& a, const Candidate& b) { return a.log_probability > b.log_probability; });
  all.resize(count);
  return all;
}

// Drives a search as generation does: what a beam's cache would hold is moved by the copies alone.
Continuation run(Search& search, std::size_t candidates, std::uint64_t seed, double of_end, std::size_t beams) {
  std::vector<Tokens> caches(beams);  // tokens that were fed
  bool first = true;
  while (!search.rows().empty()) {
    for (const BeamCopy& copy : search.copies()) {
      caches[static_cast<std::size_t>(copy.to)] = caches[static_cast<std::size_t>(copy.from)];
    }
    std::vector<Candidate> all;
    for (const LiveRow& row : search.rows()) {
      Tokens& cache = caches[static_cast<std::size_t>(row.beam)];
      if (!first) cache.push_back(row.token);
      const std::vector<Candidate> own = best(log_probabilities(cache, seed, of_end), candidates);
      all.insert(all.end(), own.begin(), own.end());
    }
    first = false;
    search.advance(all);
  }
  return search.result();
}

struct Hypothesis {
  Tokens tokens;
  float sum = 0;
  float score = 0;
};

// transformers' algorithm, written on whole sequences.
Hypothesis plain_search(std::size_t beams, std::int64_t most, std::uint64_t seed, double of_end) {
  std::vector<Hypothesis> live = {{}}, finished;
  for (std::int64_t length = 1;; ++length) {
    std::vector<Hypothesis> all;
    for (const Hypothesis& one : live) {
      const std::vector<float> next = log_probabilities(one.tokens, seed, of_end);
      for (std::int32_t token = 0; token < kVocabulary; ++token) {
        Hypothesis longer = one;
        longer.tokens.push_back(token);
        longer.sum += next[static_cast<std::size_t>(token)];
        longer.score = longer.sum / static_cast<float>(length);
        all.push_back(longer);
      }
    }
    std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.sum > b.sum; });
    all.resize(2 * beams);
    live.clear();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const bool ends = all[i].tokens.back() == kEnd || length == most;
      if (ends && i < beams) finished.push_back(all[i]);
      if (!ends && live.size() < beams) live.push_back(all[i]);
    }
    std::stable_sort(finished.begin(), finished.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
    if (finished.size() > beams) finished.resize(beams);
    const bool full = finished.size() == beams;
    if (length == most || (full && live[0].sum / static_cast<float>(length) <= finished.back().score)) {
      return finished[0];
    }
  }
}

TEST(BeamSearch, FindsWhatAPlainSearchOverWholeSequencesFinds) {
  int ended = 0, at_limit = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    for (const std::size_t beams : {2U, 3U, 5U}) {
      const double of_end = seed % 3 == 0 ? 0.3 : 6;
      const Hypothesis expected = plain_search(beams, 9, seed, of_end);
      BeamSearch search(7, static_cast<std::int64_t>(beams), {.tokens = {kEnd}, .most_new = 9});
      Continuation found = run(search, 2 * beams, seed, of_end, beams);
      if (found.at_stop_token) found.tokens.push_back(kEnd);
      EXPECT_EQ(found.tokens, expected.tokens) << seed << " " << beams;
      EXPECT_FLOAT_EQ(static_cast<float>(found.log_probability), expected.sum);
      (found.at_stop_token ? ended : at_limit) += 1;
    }
  }
  EXPECT_GT(ended, 20);
  EXPECT_GT(at_limit, 20);
}

TEST(BeamSearch, WantsEnoughCandidatesThatAllBeamsGoOn) {
  EXPECT_EQ(BeamSearch::candidates(4, 0), 8);
  EXPECT_EQ(BeamSearch::candidates(4, 1), 8);
  EXPECT_EQ(BeamSearch::candidates(4, 3), 16);
}

TEST(BeamSearch, NoCopyWritesABeamThatIsRead) {
  BeamSearch search(7, 4, {.tokens = {}, .most_new = 12});
  int copies = 0;
  for (std::uint64_t step = 0; !search.rows().empty(); ++step) {
    std::vector<Candidate> all;
    for (std::size_t row = 0; row < search.rows().size(); ++row) {
      const auto own = best(log_probabilities({static_cast<std::int32_t>(row)}, step, 1), 8);
      all.insert(all.end(), own.begin(), own.end());
    }
    search.advance(all);
    for (const BeamCopy& copy : search.copies()) {
      ++copies;
      for (const BeamCopy& other : search.copies()) EXPECT_NE(copy.to, other.from);
    }
  }
  EXPECT_GT(copies, 8);
}

TEST(BeamSearch, AFinishedContinuationLosesToABetterMeanThatCameLater) {
  BeamSearch search(7, 2, {.tokens = {kEnd}, .most_new = 5});
  search.advance(std::vector<Candidate>{{1, -0.5F}, {kEnd, -1.0F}, {2, -1.5F}, {3, -9.0F}});  // ended: -1 a token
  ASSERT_THAT(search.rows(), SizeIs(2));
  search.advance(std::vector<Candidate>{{kEnd, -0.1F},
                                        {1, -3.0F},
                                        {2, -4.0F},
                                        {3, -5.0F},  // ended: -0.3 a token
                                        {1, -6.0F},
                                        {2, -6.0F},
                                        {3, -6.0F},
                                        {5, -6.0F}});
  EXPECT_THAT(search.rows(), IsEmpty());  // nothing that goes on reaches the worse of the two
  EXPECT_THAT(search.result().tokens, ElementsAre(1));
  EXPECT_TRUE(search.result().at_stop_token);
  EXPECT_NEAR(search.result().log_probability, -0.6, 1e-6);
}

TEST(SingleSearch, EndsAtAStopTokenOrAtTheLimit) {
  SingleSearch stopped(7, {.tokens = {3, kEnd}, .most_new = 5});
  stopped.advance(std::vector<Candidate>{{9, -0.5F}});
  ASSERT_THAT(stopped.rows(), SizeIs(1));
  EXPECT_EQ(stopped.rows()[0].token, 9);
  stopped.advance(std::vector<Candidate>{{kEnd, -0.25F}});
  EXPECT_THAT(stopped.rows(), IsEmpty());
  EXPECT_THAT(stopped.result().tokens, ElementsAre(9));
  EXPECT_TRUE(stopped.result().at_stop_token);
  EXPECT_EQ(stopped.result().log_probability, -0.75);
  SingleSearch full(7, {.tokens = {kEnd}, .most_new = 1});
  full.advance(std::vector<Candidate>{{9, -0.5F}});
  EXPECT_THAT(full.rows(), IsEmpty());
  EXPECT_FALSE(full.result().at_stop_token);
}

}  // namespace
}  // namespace shardora
