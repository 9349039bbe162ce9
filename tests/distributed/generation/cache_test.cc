// Tokens that look back at the cache get the logits of a forward pass over whole sequences: every family, every beam,
// windows shorter than what they look back at, at every split.
#include <algorithm>

#include "runtime/jobs/generate/cached_batches.h"
#include "tests/support/small_model.h"

namespace shardora {
namespace {

constexpr std::int64_t kBeams = 2, kNew = 6;
const std::vector<std::vector<std::int32_t>> kPrompts = {{3, 17, 5, 40, 8, 8, 21}, {11}, {50, 2, 33}};

// What stands at a position of a continuation: other tokens for each prompt and beam.
std::int32_t token_at(std::int64_t prompt, std::int64_t beam, std::int64_t position) {
  const auto& tokens = kPrompts[static_cast<std::size_t>(prompt)];
  if (position < std::ssize(tokens)) return tokens[static_cast<std::size_t>(position)];
  return static_cast<std::int32_t>((prompt * 19 + beam * 7 + position * 5 + 1) % 53);
}

ModelConfig config_of(const std::string& family) {
  ModelConfig config{.model_type = family,
                     .hidden_size = 24,
                     .intermediate_size = 37,
                     .num_hidden_layers = 2,
                     .num_attention_heads = 24,  // for one to four ranks
                     .num_key_value_heads = 12,
                     .head_dim = 4,
                     .vocab_size = 53,
                     .max_position_embeddings = 64,
                     .initializer_range = 0.2};
  config.sliding_windows = {0, 0};
  if (family == "mistral") config.sliding_windows = {4, 4};
  if (family == "qwen2") config.sliding_windows = {0, 5};
  config.attention_bias = family == "qwen2";
  config.query_key_norm = family == "qwen3";
  return config;
}

class Cache : public ::testing::TestWithParam<std::string> {
 protected:
  Cache()
      : backend_(make_backend(testing::tested_backend(), {.threads = 1})),
        log_(test_world().rank(), true),
        solo_(0, 1),
        world_(*backend_) {
    grid_ = {.tensor = {world_.group().rank(), world_.group().size()},
             .world = &test_world(),
             .data_group = &solo_,
             .tensor_group = &world_.group()};
    context_ = std::make_unique<Context>(Context{*backend_, grid_, log_, stop_, ""});
    options_.train.seed = 3;
    std::int64_t rows = 0;
    for (const auto& prompt : kPrompts) rows += kBeams * (std::ssize(prompt) + kNew);
    model_ = std::make_unique<LoadedModel>(
        options_, *context_, ModelFiles{.folder = {}, .config = config_of(GetParam()), .weights = {}, .adapter = {}},
        ModelUse{.limits = {.tokens = 80, .sequences = 8}, .positions = 20, .cache_rows = rows});
  }

  // [target rows, columns of this rank].
  std::vector<float> logits(const DeviceBatch& batch) {
    const Decoder& decoder = model_->decoder();
    const TensorView found = decoder.logits(model_->pass(batch, 0, false), model_->activations());
    std::vector<float> host(static_cast<std::size_t>(found.elements()));
    backend_->copy_to_host(view_of(std::span(host), found.shape), found);
    backend_->synchronize();
    return host;
  }
  std::vector<float> logits(const CachedBatch& cached) {
    return logits(model_->decoder().upload(cached.batch, cached.places, model_->activations()));
  }

  // The same rows from sequences that are whole up to there, without a cache.
  std::vector<float> whole(std::span<const CachedBatches::Row> rows) {
    Batch batch;
    batch.offsets = {0};
    for (const CachedBatches::Row& row : rows) {
      for (std::int64_t i = 0; i <= row.position; ++i) {
        batch.tokens.push_back(token_at(row.prompt, row.beam, i));
        batch.positions.push_back(static_cast<std::int32_t>(i));
        batch.sequence_indices.push_back(0);
      }
      batch.offsets.push_back(static_cast<std::int32_t>(batch.size()));
      batch.target_rows.push_back(batch.offsets.back() - 1);
      batch.targets.push_back(0);
    }
    return logits(model_->decoder().upload(batch, model_->activations()));
  }

  void expect_whole(const std::vector<float>& found, std::span<const CachedBatches::Row> rows) {
    const std::vector<float> expected = whole(rows);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const CachedBatches::Row& row = rows[i * rows.size() / expected.size()];
      EXPECT_NEAR(found[i], expected[i], 1e-5)
          << "prompt " << row.prompt << " beam " << row.beam << " position " << row.position;
    }
  }

  void copy_rows(std::int64_t to, std::int64_t from, std::int64_t count) {
    for (const LayerCache& layer : model_->activations().cache.layers) {
      for (const TensorView view : {layer.k, layer.v}) backend_->copy(view.rows(to, count), view.rows(from, count));
    }
  }

  std::unique_ptr<Backend> backend_;
  Log log_;
  DryRunCommunicator solo_;
  testing::WorldOn world_;
  std::atomic<bool> stop_ = false;
  ProcessGrid grid_;
  std::unique_ptr<Context> context_;
  RunOptions options_;
  std::unique_ptr<LoadedModel> model_;
};

TEST_P(Cache, ANewTokenGetsTheLogitsOfTheWholeSequence) {
  CachedBatches batches;
  std::vector<CachedBatches::Prompt> prompts;
  std::vector<CachedBatches::Row> rows;
  for (std::size_t i = 0; i < kPrompts.size(); ++i) {
    const std::int64_t length = std::ssize(kPrompts[i]);
    prompts.push_back({.tokens = kPrompts[i], .rows = length + kNew});
    rows.push_back({.prompt = static_cast<std::int64_t>(i), .position = length - 1});
  }
  expect_whole(logits(batches.start(prompts, kBeams)), rows);
  for (const CachedBatches::Row& row : rows) {
    copy_rows(batches.row(row.prompt, 1, 0), batches.row(row.prompt, 0, 0), row.position + 1);
  }
  for (std::int64_t step = 0; step < kNew; ++step) {
    rows.clear();
    for (std::size_t i = 0; i < kPrompts.size(); ++i) {
      for (std::int64_t beam = 0; beam < kBeams; ++beam) {
        // One continuation ends early, so that rows of the cache lie between those that go on.
        if (i == 1 && beam == 0 && step > 1) continue;
        const std::int64_t position = std::ssize(kPrompts[i]) + step;
        const auto prompt = static_cast<std::int64_t>(i);
        rows.push_back({prompt, beam, token_at(prompt, beam, position), position});
      }
    }
    expect_whole(logits(batches.next(rows)), rows);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Cache, ::testing::Values("llama", "mistral", "qwen2", "qwen3"),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace shardora
