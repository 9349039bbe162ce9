// generate: greedy continuation of prompts, all of them side by side in packed batches, sharded like training.
#include <algorithm>
#include <limits>

#include "runtime/comm/agreement.h"
#include "runtime/train/evaluate.h"

namespace shardora {
namespace {

// A sequence under way: the prompt and what has been added to it.
struct Continuation {
  std::vector<std::int32_t> tokens;
  std::size_t prompt = 0;
  bool done = false;
};

// A batch of whole sequences whose last tokens predict the next ones.
Batch batch_of(std::span<Continuation* const> sequences) {
  Batch batch;
  batch.offsets.push_back(0);
  for (const Continuation* sequence : sequences) {
    for (std::size_t i = 0; i < sequence->tokens.size(); ++i) {
      batch.tokens.push_back(sequence->tokens[i]);
      batch.positions.push_back(static_cast<std::int32_t>(i));
      batch.places.push_back(std::ssize(batch.offsets) - 1);
    }
    batch.offsets.push_back(static_cast<std::int32_t>(batch.tokens.size()));
    batch.target_rows.push_back(batch.offsets.back() - 1);
    batch.targets.push_back(0);
  }
  return batch;
}

// The id of the largest logit over the whole vocabulary, the lowest one of equals.
std::vector<std::int32_t> largest(const Machine& machine, const Decoder& decoder, TensorView logits) {
  const std::int64_t rows = logits.size(0), columns = logits.size(1);
  std::vector<float> host(static_cast<std::size_t>(logits.elements()));
  machine.backend.copy_to_host(view_of(std::span(host), logits.shape), logits);
  machine.backend.synchronize();
  std::vector<float> best(static_cast<std::size_t>(rows), -std::numeric_limits<float>::infinity());
  std::vector<std::int32_t> id(static_cast<std::size_t>(rows), std::numeric_limits<std::int32_t>::max());
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* begin = host.data() + row * columns;
    const float* found = std::max_element(begin, begin + columns);
    if (columns == 0) continue;
    best[static_cast<std::size_t>(row)] = *found;
    id[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(decoder.vocabulary().begin + (found - begin));
  }
  std::vector<float> overall = best;
  Communicator& group = machine.grid.tensor_group->host();
  group.all_reduce(view_of(std::span(overall), {rows}), Reduction::kMax, {});
  for (std::size_t row = 0; row < id.size(); ++row) {
    if (best[row] != overall[row]) id[row] = std::numeric_limits<std::int32_t>::max();
  }
  group.all_reduce(view_of(std::span(id), {rows}), Reduction::kMin, {});
  return id;
}

class Generator {
 public:
  Generator(const RunOptions& options, const Machine& machine, Instance& instance, BatchLimits limits,
            std::vector<std::int64_t> stops, std::int64_t positions)
      : machine_(machine), instance_(instance), limits_(limits), stops_(std::move(stops)), positions_(positions) {
    most_ = options.generate.max_new_tokens;
  }

  void run(std::vector<Continuation>& all) {
    std::vector<Continuation*> open;
    open.reserve(all.size());
    for (Continuation& sequence : all) open.push_back(&sequence);
    for (std::int64_t added = 0; added < most_ && !open.empty(); ++added) {
      std::span<Continuation* const> rest = open;
      while (!rest.empty()) {
        const std::size_t count = how_many_fit(rest);
        extend(rest.first(count));
        rest = rest.subspan(count);
      }
      std::erase_if(open, [](const Continuation* sequence) { return sequence->done; });
    }
  }

 private:
  std::size_t how_many_fit(std::span<Continuation* const> sequences) const {
    std::size_t count = 0;
    std::int64_t tokens = 0;
    const std::int64_t most = std::min(limits_.sequences, instance_.activations().logits.size(0));
    while (count < sequences.size() && std::ssize(sequences.first(count)) < most) {
      tokens += std::ssize(sequences[count]->tokens);
      if (tokens > limits_.tokens) break;
      ++count;
    }
    return count;
  }

  void extend(std::span<Continuation* const> sequences) {
    const Decoder& decoder = instance_.decoder();
    const DeviceBatch batch = decoder.upload(batch_of(sequences), instance_.activations());
    const TensorView logits = decoder.logits(instance_.pass(batch, 0, false), batch, instance_.activations());
    const std::vector<std::int32_t> next = largest(machine_, decoder, logits);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      Continuation& sequence = *sequences[i];
      const bool stop = std::find(stops_.begin(), stops_.end(), next[i]) != stops_.end();
      if (!stop) sequence.tokens.push_back(next[i]);
      sequence.done = stop || std::ssize(sequence.tokens) >= positions_;
    }
  }

  const Machine& machine_;
  Instance& instance_;
  BatchLimits limits_;
  std::vector<std::int64_t> stops_;
  std::int64_t positions_, most_ = 0;
};

std::vector<Continuation> read_prompts(const RunOptions& options, const ModelConfig& config) {
  const Dataset prompts(options.generate.prompts, config.vocab_size, config.max_position_embeddings, Overlong::kError,
                        Dataset::Use::kPrompts);
  std::vector<Continuation> all;
  for (std::int64_t i = 0; i < prompts.size(); ++i) {
    const auto tokens = prompts[i].tokens;
    all.push_back({.tokens = {tokens.begin(), tokens.end()}, .prompt = tokens.size()});
  }
  return all;
}

}  // namespace

std::vector<std::vector<std::int32_t>> generate(const RunOptions& options, const Machine& machine) {
  ModelFiles files;
  std::vector<Continuation> all;
  agree(*machine.grid.world, [&] {
    files = open_model_files(options);
    all = read_prompts(options, files.config);
  });
  require_agreement(*machine.grid.world, {{"model", files.fingerprint + files.adapter_fingerprint}});
  std::size_t longest = 0;
  for (const Continuation& sequence : all) longest = std::max(longest, sequence.tokens.size());
  const std::int64_t positions = std::min(static_cast<std::int64_t>(longest) + options.generate.max_new_tokens,
                                          files.config.max_position_embeddings);
  const BatchLimits limits{.tokens = std::max(options.train.micro_batch_tokens, positions),
                           .sequences = std::ssize(all)};
  Instance instance(options, machine, files, {.limits = limits, .positions = positions});
  std::vector<std::int64_t> stops = options.generate.stop_tokens;
  if (stops.empty()) stops = files.config.eos_token_ids;
  Generator(options, machine, instance, limits, stops, positions).run(all);
  std::vector<std::vector<std::int32_t>> continuations;
  continuations.reserve(all.size());
  for (const Continuation& sequence : all) {
    continuations.emplace_back(sequence.tokens.begin() + static_cast<std::ptrdiff_t>(sequence.prompt),
                               sequence.tokens.end());
  }
  return continuations;
}

}  // namespace shardora
