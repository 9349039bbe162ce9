// A micro-batch: whole sequences packed end to end, nothing padded. Sequences never see each other; positions restart.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/data/sampler.h"

namespace shardora {

struct Batch {
  std::vector<std::int32_t> tokens;            // [T]
  std::vector<std::int32_t> positions;         // [T], within each sequence
  std::vector<std::int64_t> sequence_indices;  // [T], index of the sequence in the global batch
  std::vector<std::int32_t> offsets;           // [sequences + 1]
  // Row t predicts token t+1 of its sequence. Only rows whose next token is a target reach the head:
  std::vector<std::int32_t> target_rows;  // ascending
  std::vector<std::int32_t> targets;      // the token each of them predicts
  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
};

// The micro-batches of one data rank. Sequences are dealt to data ranks so that their tokens are even (longest first,
// to the rank with the fewest; ties to the lower place and rank), kept in order of place, and packed greedily up to
// `micro_batch_tokens`; a longer sequence goes alone; without packing each goes alone. Every sequence is in exactly one
// micro-batch of one rank. The parallel ranks' shares may differ.
struct PackingOptions {
  std::int64_t micro_batch_tokens = 8192;
  bool packing = true;
};
std::vector<Batch> micro_batches(std::span<const SequenceRef> sequences, std::span<const Dataset* const> datasets,
                                 int data_rank, int data_size, const PackingOptions& options);

// The same one after another, in memory that is used again for the next micro-batch and the next step.
class Packer {
 public:
  Packer(std::span<const Dataset* const> datasets, int data_rank, int data_size, const PackingOptions& options);
  // Room for any step of so many sequences: from then on nothing is allocated.
  void reserve(std::int64_t global_batch);
  void start(std::span<const SequenceRef> sequences);
  // Valid until the next call; null after the last.
  const Batch* next();
  bool at_end() const { return next_ == mine_.size(); }  // the next call is null
  bool empty() const { return mine_.empty(); }           // nothing of the step is this rank's

 private:
  void deal(std::span<const SequenceRef> sequences);
  void append(const SequenceRef& ref);
  const Dataset& dataset_of(const SequenceRef& ref) const;
  std::int64_t length_of(const SequenceRef& ref) const { return dataset_of(ref).length(ref.sequence); }

  std::vector<const Dataset*> datasets_;  // not owned
  int data_rank_;
  PackingOptions options_;
  std::vector<SequenceRef> order_, mine_;  // longest first; this rank's, by place
  std::vector<std::int64_t> loads_;        // tokens of each data rank
  std::size_t next_ = 0;                   // of mine_
  Batch batch_;
};

// The most tokens, sequences and target rows that one micro-batch can have: sizes the activations once.
struct BatchLimits {
  std::int64_t tokens = 0, sequences = 0;
};
BatchLimits batch_limits(std::span<const Dataset* const> datasets, std::int64_t global_batch,
                         const PackingOptions& options);
// The same of any sequences between these lengths.
struct LengthRange {
  std::int64_t longest = 0, shortest = 0;
};
BatchLimits batch_limits(const LengthRange& lengths, std::int64_t global_batch, const PackingOptions& options);

}  // namespace shardora
