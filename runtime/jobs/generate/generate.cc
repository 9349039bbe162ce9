#include "runtime/jobs/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/comm/agreement.h"
#include "runtime/jobs/generate/beam_search.h"
#include "runtime/jobs/generate/group_run.h"
#include "runtime/system/printable.h"

namespace shardora {
namespace {

// No more than the decoder's logits have room for, however large the vocabulary.
constexpr std::int64_t kMostRows = 256;

// What is asked for, opened and checked on each rank before any weight is read.
struct Request {
  ModelFiles files;
  std::optional<Dataset> prompts;
  std::vector<PromptSize> sizes;
  std::vector<std::int64_t> stop_tokens;
};

PromptSize size_of(const RunOptions& options, const Request& request, std::int64_t prompt) {
  const std::int64_t tokens = request.prompts->length(prompt), limit = request.files.config.max_position_embeddings;
  if (tokens >= limit) {
    refuse(ExitStatus::kBadInput, "{}: sequence {} has {} tokens, expected fewer than the model's {} positions; cut it",
           printable(options.generate.prompts), prompt, tokens, limit);
  }
  return {.tokens = tokens, .most_new = std::min(options.generate.max_new_tokens, limit - tokens)};
}

void open_request(const RunOptions& options, Request& request) {
  const ModelConfig& config = request.files.config;
  request.prompts.emplace(options.generate.prompts, config.vocab_size, std::numeric_limits<std::int64_t>::max(),
                          Overlong::kError, Dataset::Use::kPrompts);
  for (std::int64_t i = 0; i < request.prompts->size(); ++i) request.sizes.push_back(size_of(options, request, i));
  request.stop_tokens = options.generate.stop_tokens;
  if (request.stop_tokens.empty()) request.stop_tokens = read_stop_tokens(request.files.folder, config);
  const std::int64_t beams = options.generate.beams;
  if (beams > 1 && BeamSearch::candidates(beams, request.stop_tokens.size()) > config.vocab_size) {
    refuse(ExitStatus::kUsage,
           "generate.beams = {} with {} stop tokens: expected (1 + stop tokens) * beams up to the vocabulary's {}",
           beams, request.stop_tokens.size(), config.vocab_size);
  }
}

// Room for every group of every data rank: the same plan on all of them.
ModelUse plan_of(const Request& request, int data_size, const GroupLimits& limits) {
  ModelUse plan;
  std::int64_t& tokens = plan.limits.tokens;
  for (int rank = 0; rank < data_size; ++rank) {
    for (const PromptGroup& group : group_prompts(request.sizes, rank, data_size, limits)) {
      tokens = std::max({tokens, group.prompt_tokens, group.most_rows});
      plan.limits.sequences = std::max(plan.limits.sequences, group.most_rows);
      plan.cache_rows = std::max(plan.cache_rows, group.cache_rows);
    }
  }
  for (const PromptSize& size : request.sizes) plan.positions = std::max(plan.positions, size.rows());
  return plan;
}

// Every continuation on every rank, from those of the data ranks: zeros elsewhere, and a sum.
void share(Communicator& data_group, std::vector<Continuation>& all) {
  const auto count = std::ssize(all);
  std::vector<std::int64_t> lengths, stopped;
  std::vector<double> log_probabilities;
  for (const Continuation& one : all) {
    lengths.push_back(std::ssize(one.tokens));
    stopped.push_back(one.at_stop_token ? 1 : 0);
    log_probabilities.push_back(one.log_probability);
  }
  const std::vector<std::int64_t> own = lengths;
  const auto sum = [&](auto& values) {
    data_group.all_reduce(view_of(std::span(values), {std::ssize(values)}), Reduction::kSum, {});
  };
  sum(lengths);
  sum(stopped);
  sum(log_probabilities);
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    std::vector<std::int32_t>& mine = all[at].tokens;
    mine.resize(static_cast<std::size_t>(lengths[at]));
    tokens.insert(tokens.end(), mine.begin(), mine.end());
  }
  sum(tokens);
  auto next = tokens.begin();
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::copy_n(next, lengths[i], all[i].tokens.begin());
    next += lengths[i];
    all[i].at_stop_token = stopped[i] != 0;
    all[i].log_probability = log_probabilities[i];
  }
}

}  // namespace

Generation generate(const RunOptions& options, const Context& context) {
  const ProcessGrid& grid = context.grid;
  Request request{.files = open_model_files(options, context)};
  agree(*grid.world, [&] { open_request(options, request); });
  require_agreement(*grid.world, {{"model", request.files.fingerprint + request.files.adapter_fingerprint},
                                  {"prompts", request.prompts->fingerprint()}});
  const GroupLimits limits{.beams = options.generate.beams, .tokens = options.generate.batch_tokens, .rows = kMostRows};
  const ModelUse plan = plan_of(request, grid.data.size, limits);
  LoadedModel model(options, context, request.files, plan);
  GroupRun run({options.generate, context, model, *request.prompts, request.sizes, request.stop_tokens},
               plan.limits.sequences);
  const auto begin = std::chrono::steady_clock::now();
  Generation generation;
  generation.continuations.resize(request.sizes.size());
  for (const PromptGroup& group : group_prompts(request.sizes, grid.data.rank, grid.data.size, limits)) {
    run.run(group, generation.continuations);
  }
  share(grid.data_group->host(), generation.continuations);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  generation.seconds = grid.world->all_reduce(seconds.count(), Reduction::kMax);
  for (const Continuation& one : generation.continuations) generation.new_tokens += std::ssize(one.tokens);
  return generation;
}

nlohmann::ordered_json to_json(const Generation& generation) {
  nlohmann::ordered_json sequences = nlohmann::ordered_json::array();
  for (const Continuation& one : generation.continuations) {
    sequences.push_back({{"tokens", one.tokens},
                         {"stopped", one.at_stop_token ? "stop_token" : "length"},
                         {"log_probability", one.log_probability}});
  }
  return {{"sequences", std::move(sequences)},
          {"new_tokens", generation.new_tokens},
          {"seconds", generation.seconds},
          {"tokens_per_second", static_cast<double>(generation.new_tokens) / generation.seconds}};
}

}  // namespace shardora
