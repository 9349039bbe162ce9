#include "runtime/jobs/generate/cached_batches.h"

#include "kernels/check.h"

namespace shardora {

const CachedBatch& CachedBatches::start(std::span<const Prompt> prompts, std::int64_t beams) {
  clear();
  first_rows_.clear();
  rows_of_beam_.clear();
  std::int64_t used = 0;
  for (const Prompt& prompt : prompts) {
    first_rows_.push_back(used);
    rows_of_beam_.push_back(prompt.rows);
    for (std::int64_t i = 0; i < std::ssize(prompt.tokens); ++i) {
      append(prompt.tokens[static_cast<std::size_t>(i)], i, used + i);
    }
    predict_from_last();
    used += beams * prompt.rows;
  }
  return cached_;
}

const CachedBatch& CachedBatches::next(std::span<const Row> rows) {
  clear();
  CachePlaces& places = cached_.places;
  for (const Row& one : rows) {
    const std::int64_t first = row(one.prompt, one.beam, 0);
    // The rows up to here, of other beams and of what this cache has not yet: nobody asks them.
    places.query_offsets.push_back(static_cast<std::int32_t>(cached_.batch.size()));
    places.key_offsets.push_back(static_cast<std::int32_t>(first));
    append(one.token, one.position, first + one.position);
    predict_from_last();
    places.query_offsets.push_back(static_cast<std::int32_t>(cached_.batch.size()));
    places.key_offsets.push_back(static_cast<std::int32_t>(first + one.position + 1));
  }
  return cached_;
}

std::int64_t CachedBatches::row(std::int64_t prompt, std::int64_t beam, std::int64_t position) const {
  const auto at = static_cast<std::size_t>(prompt);
  SHARDORA_CHECK(position < rows_of_beam_.at(at));
  return first_rows_.at(at) + beam * rows_of_beam_.at(at) + position;
}

void CachedBatches::clear() {
  Batch& batch = cached_.batch;
  CachePlaces& places = cached_.places;
  for (auto* of_tokens : {&batch.tokens, &batch.positions, &batch.target_rows, &batch.targets, &places.rows,
                          &places.query_offsets, &places.key_offsets}) {
    of_tokens->clear();
  }
  batch.sequence_indices.clear();
  batch.offsets.assign(1, 0);
}

void CachedBatches::append(std::int32_t token, std::int64_t position, std::int64_t cache_row) {
  cached_.batch.tokens.push_back(token);
  cached_.batch.positions.push_back(static_cast<std::int32_t>(position));
  cached_.batch.sequence_indices.push_back(0);  // dropout alone asks
  cached_.places.rows.push_back(static_cast<std::int32_t>(cache_row));
}

void CachedBatches::predict_from_last() {
  Batch& batch = cached_.batch;
  batch.offsets.push_back(static_cast<std::int32_t>(batch.size()));
  batch.target_rows.push_back(batch.offsets.back() - 1);
  batch.targets.push_back(0);  // unknown; the sums of the logits are asked for, not the loss
}

}  // namespace shardora
