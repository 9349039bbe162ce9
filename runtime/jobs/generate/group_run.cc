#include "runtime/jobs/generate/group_run.h"

#include "runtime/jobs/generate/beam_search.h"

namespace shardora {
namespace {

NextTokens::Rule rule_of(const GenerateOptions& options, std::size_t stop_tokens) {
  if (options.beams > 1) return {.candidates = BeamSearch::candidates(options.beams, stop_tokens)};
  if (options.temperature == 0) return {};
  return {.sampling = SamplingRule{options.temperature, options.top_k, options.top_p}};
}

}  // namespace

GroupRun::GroupRun(const Parts& parts, std::int64_t most_rows)
    : parts_(parts),
      next_tokens_(parts.context, parts.model.decoder(), rule_of(parts.options, parts.stop_tokens.size()), most_rows),
      key_(random_key(parts.options.seed, "generate")) {}

void GroupRun::run(const PromptGroup& group, std::vector<Continuation>& found) {
  start(group);
  step(batches_.start(prompts_, parts_.options.beams));
  while (!rows_.empty()) {
    copy_beams();
    step(batches_.next(rows_));
  }
  for (std::size_t i = 0; i < searches_.size(); ++i) {
    found[static_cast<std::size_t>(group_[i])] = searches_[i]->result();
  }
}

void GroupRun::start(const PromptGroup& group) {
  group_ = group.prompts;
  new_tokens_ = 0;
  prompts_.clear();
  searches_.clear();
  for (const std::int64_t prompt : group_) {
    const PromptSize& size = parts_.sizes[static_cast<std::size_t>(prompt)];
    prompts_.push_back({.tokens = parts_.prompts[prompt].tokens, .rows = size.rows()});
    searches_.push_back(make_search(prompts_.back().tokens.back(), size.most_new));
  }
  collect_rows();
}

std::unique_ptr<Search> GroupRun::make_search(std::int32_t last_of_prompt, std::int64_t most_new) const {
  StopRule stop{.tokens = {parts_.stop_tokens.begin(), parts_.stop_tokens.end()}, .most_new = most_new};
  if (parts_.options.beams == 1) return std::make_unique<SingleSearch>(last_of_prompt, std::move(stop));
  return std::make_unique<BeamSearch>(last_of_prompt, parts_.options.beams, std::move(stop));
}

// One token more for every row.
void GroupRun::step(const CachedBatch& cached) {
  LoadedModel& model = parts_.model;
  const Decoder& decoder = model.decoder();
  const DeviceBatch batch = decoder.upload(cached.batch, cached.places, model.activations());
  const Pass pass = model.pass(batch, 0, false);
  const TensorView logits = decoder.logits(pass, model.activations());
  const Decoder::RowSums sums = decoder.row_sums(pass, model.activations());
  std::span<const Candidate> candidates = next_tokens_.choose(logits, sums, uniforms());
  const std::size_t each = candidates.size() / rows_.size();
  for (const auto& search : searches_) {
    const std::size_t own = each * search->rows().size();
    if (own == 0) continue;
    search->advance(candidates.first(own));
    candidates = candidates.subspan(own);
  }
  ++new_tokens_;
  collect_rows();
}

void GroupRun::collect_rows() {
  rows_.clear();
  for (std::size_t i = 0; i < searches_.size(); ++i) {
    for (const LiveRow& row : searches_[i]->rows()) {
      rows_.push_back({.prompt = static_cast<std::int64_t>(i),
                       .beam = row.beam,
                       .token = row.token,
                       .position = std::ssize(prompts_[i].tokens) + new_tokens_ - 1});
    }
  }
}

// The prompt's part of the cache is the same for all beams: it is copied once, after the first step.
void GroupRun::copy_beams() {
  for (std::size_t i = 0; i < searches_.size(); ++i) {
    if (searches_[i]->rows().empty()) continue;
    const auto prompt = static_cast<std::int64_t>(i);
    const std::int64_t length = std::ssize(prompts_[i].tokens);
    const std::int64_t first = new_tokens_ == 1 ? 0 : length, count = length + new_tokens_ - 1 - first;
    for (const BeamCopy& copy : searches_[i]->copies()) {
      const std::int64_t from = batches_.row(prompt, copy.from, first), to = batches_.row(prompt, copy.to, first);
      for (const LayerCache& layer : parts_.model.activations().cache.layers) {
        for (const TensorView rows : {layer.k, layer.v}) {
          parts_.context.backend.copy(rows.rows(to, count), rows.rows(from, count));
        }
      }
    }
  }
}

// By prompt and place in the continuation: the same however prompts are grouped and dealt.
std::span<const double> GroupRun::uniforms() {
  uniforms_.clear();
  for (const CachedBatches::Row& row : rows_) {
    const auto prompt = static_cast<std::uint64_t>(group_[static_cast<std::size_t>(row.prompt)]);
    const std::uint64_t bits = random_bits(random_key(key_, prompt), static_cast<std::uint64_t>(new_tokens_));
    uniforms_.push_back(static_cast<double>(bits >> 11U) * 0x1p-53);
  }
  return uniforms_;
}

}  // namespace shardora
