// Deals a step's sequences to the data ranks and packs each rank's share into micro-batches.
#include "runtime/data/batch.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"

namespace shardora {
namespace {

bool by_place(const SequenceRef& a, const SequenceRef& b) { return a.place < b.place; }

}  // namespace

Packer::Packer(std::span<const Dataset* const> datasets, int data_rank, int data_size, const PackingOptions& options)
    : datasets_(datasets.begin(), datasets.end()), data_rank_(data_rank), options_(options) {
  SHARDORA_CHECK(data_size >= 1 && data_rank >= 0 && data_rank < data_size && options.micro_batch_tokens >= 1);
  loads_.resize(static_cast<std::size_t>(data_size));
}

void Packer::reserve(std::int64_t global_batch) {
  const BatchLimits limits = batch_limits(datasets_, global_batch, options_);
  const auto tokens = static_cast<std::size_t>(limits.tokens);
  order_.reserve(static_cast<std::size_t>(global_batch));
  mine_.reserve(static_cast<std::size_t>(global_batch));
  for (auto* of_tokens : {&batch_.tokens, &batch_.positions, &batch_.target_rows, &batch_.targets}) {
    of_tokens->reserve(tokens);
  }
  batch_.sequence_indices.reserve(tokens);
  batch_.offsets.reserve(static_cast<std::size_t>(limits.sequences) + 1);
}

void Packer::start(std::span<const SequenceRef> sequences) {
  deal(sequences);
  next_ = 0;
}

const Batch* Packer::next() {
  if (next_ == mine_.size()) return nullptr;
  for (auto* of_tokens : {&batch_.tokens, &batch_.positions, &batch_.target_rows, &batch_.targets}) of_tokens->clear();
  batch_.sequence_indices.clear();
  batch_.offsets.assign(1, 0);
  do {
    append(mine_[next_++]);
  } while (options_.packing && next_ < mine_.size() &&
           batch_.size() + length_of(mine_[next_]) <= options_.micro_batch_tokens);
  return &batch_;
}

const Dataset& Packer::dataset_of(const SequenceRef& ref) const {
  SHARDORA_CHECK(ref.dataset >= 0 && ref.dataset < std::ssize(datasets_));
  return *datasets_[static_cast<std::size_t>(ref.dataset)];
}

// The share of this data rank, in order of place. Every rank computes the whole deal alike.
void Packer::deal(std::span<const SequenceRef> sequences) {
  order_.assign(sequences.begin(), sequences.end());
  std::sort(order_.begin(), order_.end(), [&](const SequenceRef& a, const SequenceRef& b) {
    const std::int64_t a_length = length_of(a), b_length = length_of(b);
    return a_length != b_length ? a_length > b_length : by_place(a, b);
  });
  std::fill(loads_.begin(), loads_.end(), 0);
  mine_.clear();
  for (const SequenceRef& ref : order_) {
    const auto lightest = std::min_element(loads_.begin(), loads_.end());  // the first of equals: the lower rank
    *lightest += length_of(ref);
    if (lightest - loads_.begin() == data_rank_) mine_.push_back(ref);
  }
  std::sort(mine_.begin(), mine_.end(), by_place);
}

void Packer::append(const SequenceRef& ref) {
  Batch& batch = batch_;
  const Dataset::Sequence sequence = dataset_of(ref)[ref.sequence];
  const auto length = static_cast<std::int32_t>(sequence.tokens.size());
  const auto first = static_cast<std::int32_t>(batch.tokens.size());
  SHARDORA_CHECK(length <= std::numeric_limits<std::int32_t>::max() - first);
  batch.tokens.insert(batch.tokens.end(), sequence.tokens.begin(), sequence.tokens.end());
  batch.sequence_indices.insert(batch.sequence_indices.end(), sequence.tokens.size(), ref.place);
  for (std::int32_t t = 0; t < length; ++t) {
    batch.positions.push_back(t);
    const auto after = static_cast<std::size_t>(t) + 1;
    if (t + 1 < length && sequence.loss_mask[after] != 0) {
      batch.target_rows.push_back(first + t);
      batch.targets.push_back(sequence.tokens[after]);
    }
  }
  batch.offsets.push_back(first + length);
}

std::vector<Batch> micro_batches(std::span<const SequenceRef> sequences, std::span<const Dataset* const> datasets,
                                 int data_rank, int data_size, const PackingOptions& options) {
  Packer packer(datasets, data_rank, data_size, options);
  packer.start(sequences);
  std::vector<Batch> batches;
  while (const Batch* batch = packer.next()) batches.push_back(*batch);
  return batches;
}

BatchLimits batch_limits(std::span<const Dataset* const> datasets, std::int64_t global_batch,
                         const PackingOptions& options) {
  SHARDORA_CHECK(!datasets.empty());
  LengthRange lengths{.longest = 0, .shortest = std::numeric_limits<std::int64_t>::max()};
  for (const Dataset* dataset : datasets) {
    lengths.longest = std::max(lengths.longest, dataset->longest());
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      lengths.shortest = std::min(lengths.shortest, dataset->length(i));
    }
  }
  return batch_limits(lengths, global_batch, options);
}

BatchLimits batch_limits(const LengthRange& lengths, std::int64_t global_batch, const PackingOptions& options) {
  SHARDORA_CHECK(global_batch >= 1 && options.micro_batch_tokens >= 1 && lengths.shortest >= 1);
  if (!options.packing) return {lengths.longest, 1};
  const std::int64_t most = options.micro_batch_tokens;
  // What a step has in all bounds a micro-batch too; divided instead of multiplied, which could overflow.
  const bool step_fits = global_batch <= most / lengths.longest;
  return {step_fits ? global_batch * lengths.longest : std::max(most, lengths.longest),
          std::clamp<std::int64_t>(most / lengths.shortest, 1, global_batch)};
}

}  // namespace shardora
