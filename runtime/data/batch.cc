// Deals a step's sequences to the data ranks and packs each rank's share into micro-batches.
#include "runtime/data/batch.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"

namespace shardora {
namespace {

const Dataset& dataset_of(const SequenceRef& ref, std::span<const Dataset* const> datasets) {
  SHARDORA_CHECK(ref.dataset >= 0 && ref.dataset < static_cast<std::int64_t>(datasets.size()));
  return *datasets[static_cast<std::size_t>(ref.dataset)];
}

std::int64_t length_of(const SequenceRef& ref, std::span<const Dataset* const> datasets) {
  return dataset_of(ref, datasets).length(ref.sequence);
}

bool by_place(const SequenceRef& a, const SequenceRef& b) { return a.place < b.place; }

// The share of one data rank, in order of place. Every rank computes the whole deal alike.
std::vector<SequenceRef> deal(std::span<const SequenceRef> sequences, std::span<const Dataset* const> datasets,
                              int data_rank, int data_size) {
  std::vector<SequenceRef> order(sequences.begin(), sequences.end());
  std::sort(order.begin(), order.end(), [&](const SequenceRef& a, const SequenceRef& b) {
    const std::int64_t a_length = length_of(a, datasets), b_length = length_of(b, datasets);
    return a_length != b_length ? a_length > b_length : by_place(a, b);
  });
  std::vector<std::int64_t> loads(static_cast<std::size_t>(data_size), 0);
  std::vector<SequenceRef> mine;
  for (const SequenceRef& ref : order) {
    const auto lightest = std::min_element(loads.begin(), loads.end());  // the first of equals: the lower rank
    *lightest += length_of(ref, datasets);
    if (lightest - loads.begin() == data_rank) mine.push_back(ref);
  }
  std::sort(mine.begin(), mine.end(), by_place);
  return mine;
}

void append(Batch& batch, const SequenceRef& ref, std::span<const Dataset* const> datasets) {
  const Dataset::Sequence sequence = dataset_of(ref, datasets)[ref.sequence];
  const auto length = static_cast<std::int32_t>(sequence.tokens.size());
  const auto first = static_cast<std::int32_t>(batch.tokens.size());
  SHARDORA_CHECK(length <= std::numeric_limits<std::int32_t>::max() - first);
  batch.tokens.insert(batch.tokens.end(), sequence.tokens.begin(), sequence.tokens.end());
  batch.places.insert(batch.places.end(), sequence.tokens.size(), ref.place);
  for (std::int32_t t = 0; t < length; ++t) {
    batch.positions.push_back(t);
    if (t + 1 < length && sequence.loss_mask[static_cast<std::size_t>(t + 1)] != 0) {
      batch.target_rows.push_back(first + t);
      batch.targets.push_back(sequence.tokens[static_cast<std::size_t>(t + 1)]);
    }
  }
  batch.offsets.push_back(first + length);
}

}  // namespace

std::vector<Batch> micro_batches(std::span<const SequenceRef> sequences, std::span<const Dataset* const> datasets,
                                 int data_rank, int data_size, const PackingOptions& options) {
  SHARDORA_CHECK(data_size >= 1 && data_rank >= 0 && data_rank < data_size && options.micro_batch_tokens >= 1);
  std::vector<Batch> batches;
  for (const SequenceRef& ref : deal(sequences, datasets, data_rank, data_size)) {
    const bool fits = options.packing && !batches.empty() &&
                      batches.back().size() + length_of(ref, datasets) <= options.micro_batch_tokens;
    if (!fits) batches.emplace_back().offsets.push_back(0);
    append(batches.back(), ref, datasets);
  }
  return batches;
}

BatchLimits batch_limits(std::span<const Dataset* const> datasets, std::int64_t global_batch,
                         const PackingOptions& options) {
  SHARDORA_CHECK(!datasets.empty() && global_batch >= 1 && options.micro_batch_tokens >= 1);
  std::int64_t longest = 0, shortest = std::numeric_limits<std::int64_t>::max();
  for (const Dataset* dataset : datasets) {
    longest = std::max(longest, dataset->longest());
    for (std::int64_t i = 0; i < dataset->size(); ++i) shortest = std::min(shortest, dataset->length(i));
  }
  if (!options.packing) return {longest, 1};
  const std::int64_t most = options.micro_batch_tokens;
  // What a step has in all bounds a micro-batch too; divided instead of multiplied, which could overflow.
  const bool step_fits = global_batch <= most / longest;
  return {step_fits ? global_batch * longest : std::max(most, longest),
          std::clamp<std::int64_t>(most / shortest, 1, global_batch)};
}

}  // namespace shardora
