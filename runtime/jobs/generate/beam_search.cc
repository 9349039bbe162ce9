#include "runtime/jobs/generate/beam_search.h"

#include <algorithm>

#include "kernels/check.h"

namespace shardora {

std::int64_t BeamSearch::candidates(std::int64_t beams, std::size_t stop_tokens) {
  return beams * std::max<std::int64_t>(2, 1 + static_cast<std::int64_t>(stop_tokens));
}

BeamSearch::BeamSearch(std::int32_t last_of_prompt, std::int64_t beams, StopRule stop)
    : stop_(std::move(stop)),
      beams_(static_cast<std::size_t>(beams)),
      live_(1),
      next_(beams_),
      rows_{{.beam = 0, .token = last_of_prompt}} {
  SHARDORA_CHECK(beams >= 1 && stop_.most_new >= 1);
}

void BeamSearch::advance(std::span<const Candidate> candidates) {
  SHARDORA_CHECK(!rows_.empty());
  ++length_;
  rank_extensions(candidates);
  keep_finished();
  rows_.clear();
  copies_.clear();
  if (at_limit()) return;
  go_on();
  if (may_improve()) return;
  rows_.clear();
  copies_.clear();
}

// Equal sums: the lower beam, then the earlier candidate.
void BeamSearch::rank_extensions(std::span<const Candidate> candidates) {
  const auto wanted = static_cast<std::size_t>(BeamSearch::candidates(std::ssize(next_), stop_.tokens.size()));
  const std::size_t of_each = candidates.size() / live_.size();
  SHARDORA_CHECK(of_each == wanted && candidates.size() == of_each * live_.size());
  ranked_.clear();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const std::size_t beam = i / of_each;
    ranked_.push_back({.beam = static_cast<std::int64_t>(beam),
                       .token = candidates[i].token,
                       .sum = live_[beam].sum + candidates[i].log_probability,
                       .stops = stop_.stops(candidates[i].token)});
  }
  std::stable_sort(ranked_.begin(), ranked_.end(),
                   [](const Extension& a, const Extension& b) { return a.sum > b.sum; });
  ranked_.resize(wanted);
}

void BeamSearch::keep_finished() {
  for (std::size_t i = 0; i < beams_; ++i) {
    const Extension& extension = ranked_[i];
    if (!extension.stops && !at_limit()) continue;
    Continuation found{.tokens = live_[static_cast<std::size_t>(extension.beam)].tokens,
                       .at_stop_token = extension.stops,
                       .log_probability = static_cast<double>(extension.sum)};
    if (!extension.stops) found.tokens.push_back(extension.token);
    finished_.push_back({.found = std::move(found), .score = extension.sum / static_cast<float>(length_)});
  }
  std::stable_sort(finished_.begin(), finished_.end(),
                   [](const Finished& a, const Finished& b) { return a.score > b.score; });
  if (finished_.size() > beams_) finished_.resize(beams_);
}

void BeamSearch::go_on() {
  going_.clear();
  for (std::size_t i = 0; i < ranked_.size() && going_.size() < beams_; ++i) {
    if (!ranked_[i].stops) going_.push_back(i);
  }
  SHARDORA_CHECK(going_.size() == beams_);
  give_places();
  for (std::size_t i = 0; i < beams_; ++i) {
    const Extension& extension = ranked_[going_[i]];
    Beam& beam = next_[static_cast<std::size_t>(places_[i])];
    beam.tokens = live_[static_cast<std::size_t>(extension.beam)].tokens;
    beam.tokens.push_back(extension.token);
    beam.sum = extension.sum;
  }
  live_.resize(beams_);
  std::swap(live_, next_);
  for (std::size_t i = 0; i < beams_; ++i) {
    rows_.push_back({.beam = static_cast<std::int64_t>(i), .token = live_[i].tokens.back()});
  }
}

// A beam's first extension stays in its place, so that only the others' caches are copied, to places that nobody needs.
void BeamSearch::give_places() {
  constexpr std::int64_t kNone = -1;
  places_.assign(beams_, kNone);
  std::vector<bool> taken(beams_);
  for (std::size_t i = 0; i < beams_; ++i) {
    const std::int64_t own = ranked_[going_[i]].beam;
    if (taken[static_cast<std::size_t>(own)]) continue;
    taken[static_cast<std::size_t>(own)] = true;
    places_[i] = own;
  }
  for (std::size_t i = 0; i < beams_; ++i) {
    if (places_[i] != kNone) continue;
    const auto free = std::find(taken.begin(), taken.end(), false);
    *free = true;
    places_[i] = free - taken.begin();
    copies_.push_back({.from = ranked_[going_[i]].beam, .to = places_[i]});
  }
}

bool BeamSearch::may_improve() const {
  if (finished_.size() < beams_) return true;
  float best = live_[0].sum;
  for (const Beam& beam : live_) best = std::max(best, beam.sum);
  return best / static_cast<float>(length_) > finished_.back().score;
}

}  // namespace shardora
