#include "runtime/jobs/generate/next_tokens.h"

#include <algorithm>
#include <cmath>

namespace shardora {

NextTokens::NextTokens(const Context& context, const Decoder& decoder, const Rule& rule, std::int64_t most_rows)
    : context_(context), columns_(decoder.vocabulary()), vocabulary_(decoder.config().vocab_size), rule_(rule) {
  SHARDORA_CHECK(rule.candidates >= 1 && rule.candidates <= vocabulary_);
  if (rule.sampling) sampler_.emplace(*rule.sampling);
  const auto rows = static_cast<std::size_t>(most_rows);
  own_.resize(rows * static_cast<std::size_t>(columns_.size));
  all_.resize(rows * static_cast<std::size_t>(vocabulary_));
  largest_.resize(rows);
  sums_.resize(rows);
  chosen_.resize(rows * static_cast<std::size_t>(rule.candidates));
}

std::span<const Candidate> NextTokens::choose(TensorView logits, const Decoder::RowSums& sums,
                                              std::span<const double> uniforms) {
  const std::int64_t rows = logits.size(0);
  fetch(logits, sums);
  join_columns(rows);
  // One rank chooses, for all: logarithms and exponentials may differ in their last bit between processors.
  if (group().rank() == 0) {
    for (std::int64_t row = 0; row < rows; ++row) choose_row(row, uniforms);
  }
  share_choice(rows);
  return std::span(chosen_).first(static_cast<std::size_t>(rows * rule_.candidates));
}

void NextTokens::fetch(TensorView logits, const Decoder::RowSums& sums) {
  const std::int64_t rows = logits.size(0);
  const auto copy = [&](std::vector<float>& to, TensorView from) {
    context_.backend.copy_to_host(view_of(std::span(to).first(static_cast<std::size_t>(from.elements())), from.shape),
                                  from);
  };
  copy(own_, logits);
  copy(largest_, sums.largest);
  copy(sums_, sums.sums);
  context_.backend.synchronize();
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {  // joined values: all ranks see the same
    if (std::isfinite(largest_[row]) && std::isfinite(sums_[row])) continue;
    refuse(ExitStatus::kNotFinite, "a token's logits are not finite: the model's or the adapter's weights are damaged");
  }
}

// Each rank adds its columns to zeros: the sum is every rank's, to the bit.
void NextTokens::join_columns(std::int64_t rows) {
  const auto count = static_cast<std::size_t>(rows * vocabulary_);
  if (group().size() > 1) std::fill_n(all_.begin(), count, 0.0F);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(own_.begin() + row * columns_.size, columns_.size, all_.begin() + row * vocabulary_ + columns_.begin);
  }
  if (group().size() > 1) {
    group().all_reduce(view_of(std::span(all_).first(count), {rows * vocabulary_}), Reduction::kSum, {});
  }
}

void NextTokens::choose_row(std::int64_t row, std::span<const double> uniforms) {
  const auto at = static_cast<std::size_t>(row);
  const auto logits = std::span<const float>(all_).subspan(at * static_cast<std::size_t>(vocabulary_),
                                                           static_cast<std::size_t>(vocabulary_));
  const auto each = static_cast<std::size_t>(rule_.candidates);
  const auto chosen = std::span(chosen_).subspan(at * each, each);
  if (sampler_) {
    const std::int32_t token = sampler_->draw(logits, uniforms[at]);
    chosen[0] = {.token = token, .log_probability = logits[static_cast<std::size_t>(token)]};
  } else {
    top_candidates(logits, chosen);
  }
  for (Candidate& candidate : chosen) {
    candidate.log_probability = (candidate.log_probability - largest_[at]) - std::log(sums_[at]);
  }
}

// Kept in order, by insertion: few are wanted of many, and few of those many get in.
void NextTokens::top_candidates(std::span<const float> logits, std::span<Candidate> best) const {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (kept == best.size() && logits[i] <= best[kept - 1].log_probability) continue;
    std::size_t place = kept < best.size() ? kept++ : kept - 1;
    for (; place > 0 && best[place - 1].log_probability < logits[i]; --place) best[place] = best[place - 1];
    best[place] = {.token = static_cast<std::int32_t>(i), .log_probability = logits[i]};
  }
}

void NextTokens::share_choice(std::int64_t rows) {
  if (group().size() == 1) return;
  const std::int64_t bytes = rows * rule_.candidates * static_cast<std::int64_t>(sizeof(Candidate));
  group().broadcast({chosen_.data(), DType::kU8, {bytes}}, 0, {});
}

}  // namespace shardora
