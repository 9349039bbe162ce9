#include "runtime/jobs/generate/token_sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/check.h"

namespace shardora {

std::span<const TokenSampler::Choice> TokenSampler::choices(std::span<const float> logits) {
  SHARDORA_CHECK(!logits.empty());
  const auto temperature = static_cast<float>(rule_.temperature);
  choices_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    choices_.push_back({.token = static_cast<std::int32_t>(i), .score = logits[i] / temperature});
  }
  keep_top_k();
  float largest = choices_[0].score;
  for (const Choice& choice : choices_) largest = std::max(largest, choice.score);
  for (Choice& choice : choices_) choice.weight = std::exp(static_cast<double>(choice.score - largest));
  keep_top_p();
  return choices_;
}

void TokenSampler::keep_top_k() {
  if (rule_.top_k == 0 || rule_.top_k >= std::ssize(choices_)) return;
  scores_.clear();
  for (const Choice& choice : choices_) scores_.push_back(choice.score);
  const auto last = scores_.begin() + (rule_.top_k - 1);
  std::nth_element(scores_.begin(), last, scores_.end(), std::greater<>());
  std::erase_if(choices_, [least = *last](const Choice& choice) { return choice.score < least; });
}

void TokenSampler::keep_top_p() {
  if (rule_.top_p >= 1) return;
  std::stable_sort(choices_.begin(), choices_.end(),
                   [](const Choice& a, const Choice& b) { return a.score > b.score; });
  double whole = 0;
  for (const Choice& choice : choices_) whole += choice.weight;
  double before = 0;
  std::size_t kept = 0;
  while (kept < choices_.size() && (kept == 0 || before < rule_.top_p * whole)) before += choices_[kept++].weight;
  choices_.resize(kept);
}

std::int32_t TokenSampler::draw(std::span<const float> logits, double uniform) {
  double whole = 0;
  for (const Choice& choice : choices(logits)) whole += choice.weight;
  double below = 0;
  for (const Choice& choice : choices_) {
    below += choice.weight;
    if (uniform * whole < below) return choice.token;
  }
  return choices_.back().token;  // rounding alone leads here
}

}  // namespace shardora
