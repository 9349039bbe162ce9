// Draw d of a run belongs to step d / global_batch. Its source comes from the mixture's period, its sequence from the
// permutation of the epoch that this source has reached: no state, so a resumed run cannot repeat or skip.
#include "runtime/data/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/random.h"

namespace shardora {
namespace {

constexpr std::int64_t kLongestPeriod = 1000;

// Whole draws of each source in `period`, by largest remainder; `error` is the sum of what rounding moved.
std::vector<std::int64_t> quotas_of(std::span<const double> shares, std::int64_t period, double* error) {
  std::vector<std::int64_t> quotas;
  std::vector<std::size_t> order(shares.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  *error = 0;
  for (const double share : shares) {
    const double exact = share * static_cast<double>(period);
    quotas.push_back(static_cast<std::int64_t>(std::floor(exact + 1e-9)));
    *error += std::abs(exact - std::round(exact));
  }
  const auto remainder = [&](std::size_t i) {
    return shares[i] * static_cast<double>(period) - static_cast<double>(quotas[i]);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return remainder(a) > remainder(b); });
  const std::int64_t left = period - std::accumulate(quotas.begin(), quotas.end(), std::int64_t{0});
  for (std::int64_t i = 0; i < left; ++i) ++quotas[order[static_cast<std::size_t>(i) % order.size()]];
  return quotas;
}

// The shortest period in which every share is a whole number of draws; shares that have none up to the longest period
// are rounded to it, and every source gets at least one draw.
std::vector<std::int64_t> find_quotas(std::span<const double> shares) {
  double error = 0;
  for (auto period = static_cast<std::int64_t>(shares.size()); period <= kLongestPeriod; ++period) {
    auto quotas = quotas_of(shares, period, &error);
    if (error < 1e-9 && std::all_of(quotas.begin(), quotas.end(), [](std::int64_t q) { return q >= 1; })) return quotas;
  }
  auto quotas = quotas_of(shares, std::max(kLongestPeriod, static_cast<std::int64_t>(shares.size())), &error);
  for (std::int64_t& quota : quotas) quota = std::max<std::int64_t>(quota, 1);
  return quotas;
}

// Each draw goes to the source that is furthest behind its share; ties to the lower index. Ends with exact quotas.
std::vector<std::int64_t> interleave(std::span<const std::int64_t> quotas) {
  const std::int64_t period = std::accumulate(quotas.begin(), quotas.end(), std::int64_t{0});
  std::vector<std::int64_t> pattern, given(quotas.size(), 0);
  for (std::int64_t draw = 1; draw <= period; ++draw) {
    std::size_t chosen = 0;
    const auto deficit = [&](std::size_t i) { return quotas[i] * draw - given[i] * period; };
    for (std::size_t i = 1; i < quotas.size(); ++i) {
      if (deficit(i) > deficit(chosen)) chosen = i;
    }
    ++given[chosen];
    pattern.push_back(static_cast<std::int64_t>(chosen));
  }
  return pattern;
}

void shuffle(std::vector<std::int64_t>& order, RandomKey key) {
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[static_cast<std::size_t>(random_below(key, i - 1, i))]);
  }
}

}  // namespace

Sampler::Sampler(std::vector<Source> sources, std::int64_t global_batch, bool shuffle, std::uint64_t seed)
    : sources_(std::move(sources)), global_batch_(global_batch), shuffle_(shuffle), seed_(seed) {
  SHARDORA_CHECK(!sources_.empty() && global_batch_ >= 1);
  double total = 0;
  for (const Source& source : sources_) {
    SHARDORA_CHECK(source.dataset != nullptr && source.dataset->size() > 0);
    if (!(source.share > 0) || !std::isfinite(source.share)) {
      refuse(ExitStatus::kUsage, "data.train: share {} is not above 0", source.share);
    }
    total += source.share;
  }
  std::vector<double> shares;
  shares.reserve(sources_.size());
  for (const Source& source : sources_) shares.push_back(source.share / total);
  quotas_ = find_quotas(shares);
  pattern_ = interleave(quotas_);
  permutations_.reserve(sources_.size());
  for (const Source& source : sources_) {
    permutations_.emplace_back(-1, std::vector<std::int64_t>(static_cast<std::size_t>(source.dataset->size())));
  }
  drawn_.resize(sources_.size());
}

StepPlan Sampler::plan(std::int64_t step) const {
  StepPlan plan;
  this->plan(step, plan);
  return plan;
}

void Sampler::plan(std::int64_t step, StepPlan& plan) const {
  draw(step, plan);
  if (plan.target_count == 0) {
    refuse(ExitStatus::kBadInput,
           "step {}: none of its {} sequences has a target token; raise train.global_batch, or remove such sequences",
           step, plan.sequences.size());
  }
}

std::int64_t Sampler::sequences_of(std::int64_t step) const {
  const std::int64_t left = draws_ - (step - 1) * global_batch_;
  return draws_ == 0 ? global_batch_ : std::min(global_batch_, left);
}

void Sampler::draw(std::int64_t step, StepPlan& plan) const {
  const std::int64_t sequences = sequences_of(step);
  SHARDORA_CHECK(step >= 1 && sequences >= 1);
  const auto period = static_cast<std::int64_t>(pattern_.size());
  const std::int64_t first = (step - 1) * global_batch_;
  // Of each source, before the next draw.
  for (std::size_t i = 0; i < drawn_.size(); ++i) drawn_[i] = first / period * quotas_[i];
  for (std::int64_t i = 0; i < first % period; ++i) {
    ++drawn_[static_cast<std::size_t>(pattern_[static_cast<std::size_t>(i)])];
  }

  plan.sequences.clear();
  plan.sequences.reserve(static_cast<std::size_t>(global_batch_));
  plan.target_count = plan.token_count = 0;
  for (std::int64_t place = 0; place < sequences; ++place) {
    const std::int64_t source = pattern_[static_cast<std::size_t>((first + place) % period)];
    const auto index = static_cast<std::size_t>(source);
    const std::int64_t sequence = pick(source, drawn_[index]++);
    plan.sequences.push_back({source, sequence, place});
    plan.target_count += sources_[index].dataset->target_count(sequence);
    plan.token_count += sources_[index].dataset->length(sequence);
  }
}

std::int64_t Sampler::pick(std::int64_t source, std::int64_t draw) const {
  const auto index = static_cast<std::size_t>(source);
  const std::int64_t size = sources_[index].dataset->size(), epoch = draw / size, place = draw % size;
  if (!shuffle_) return place;
  auto& [cached_epoch, order] = permutations_[index];
  if (cached_epoch != epoch) {
    const RandomKey key = random_key(random_key(seed_, "shuffle"), static_cast<std::uint64_t>(source));
    shuffle(order, random_key(key, static_cast<std::uint64_t>(epoch)));
    cached_epoch = epoch;
  }
  return order[static_cast<std::size_t>(place)];
}

// 1.1 * 10 is a little more than 11: what rounding added must not become a draw.
std::int64_t Sampler::draws_in(double epochs) const {
  SHARDORA_CHECK(epochs > 0);
  double sequences = 0;
  for (const Source& source : sources_) sequences += static_cast<double>(source.dataset->size());
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(epochs * sequences * (1 - 1e-12))));
}

std::int64_t Sampler::steps_in(double epochs) const { return (draws_in(epochs) + global_batch_ - 1) / global_batch_; }

std::int64_t Sampler::end_after(double epochs) {
  draws_ = draws_in(epochs);
  const std::int64_t steps = steps_in(epochs);
  StepPlan last;
  if (steps > 1 && draws_ % global_batch_ != 0) draw(steps, last);
  const bool nothing_to_learn = !last.sequences.empty() && last.target_count == 0;
  if (nothing_to_learn) draws_ = (steps - 1) * global_batch_;
  return steps - (nothing_to_learn ? 1 : 0);
}

std::vector<double> Sampler::epochs_in(std::int64_t step) const {
  std::vector<double> epochs(sources_.size(), 0);
  for (const SequenceRef& ref : plan(step).sequences) {
    const auto source = static_cast<std::size_t>(ref.dataset);
    epochs[source] += 1 / static_cast<double>(sources_[source].dataset->size());
  }
  return epochs;
}

}  // namespace shardora
