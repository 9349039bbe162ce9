// Every logical tensor is covered by the ranks' pieces: once where it is cut, whole where it is not.
#include "runtime/model/placement.h"

#include <gmock/gmock.h>

#include <numeric>

#include "runtime/formats/model_weights.h"

namespace shardora {
namespace {

ModelConfig config_of(std::int64_t heads, std::int64_t kv_heads) {
  ModelConfig config{.model_type = "llama",
                     .hidden_size = 24,
                     .intermediate_size = 37,
                     .num_hidden_layers = 1,
                     .num_attention_heads = heads,
                     .num_key_value_heads = kv_heads,
                     .head_dim = 3,
                     .vocab_size = 53,
                     .max_position_embeddings = 8,
                     .attention_bias = true};
  config.sliding_windows = {0};
  return config;
}

TEST(Placement, CoversEveryElementOfEveryTensorAndRoundTrips) {
  const ModelConfig config = config_of(8, 2);
  for (const int p : {1, 2, 4, 8}) {
    const PlacementRule rule(config, p, {});
    for (const NamedShape& tensor : expected_tensors(config)) {
      const std::int64_t elements = Shape(tensor.shape).elements();
      std::vector<float> logical(static_cast<std::size_t>(elements)), again(logical.size(), -1.0F);
      std::iota(logical.begin(), logical.end(), 0.0F);
      std::int64_t stored = 0;
      for (int rank = 0; rank < p; ++rank) {
        const Placement placement = rule.of(tensor.name, tensor.shape, rank);
        const Shape local = local_shape(tensor.shape, placement.axis, placement.stored);
        std::vector<float> piece(static_cast<std::size_t>(local.elements()));
        copy_to_local(logical, tensor.shape, placement.axis, placement.stored, piece);
        copy_to_logical(piece, tensor.shape, placement.axis, placement.stored, again);
        stored += placement.axis < 0 ? (rank == 0 ? elements : 0) : local.elements();
      }
      EXPECT_EQ(again, logical) << tensor.name << " at " << p;
      EXPECT_EQ(stored, elements) << tensor.name << " at " << p;
    }
  }
}

TEST(Placement, GivesAKvHeadOneOwnerAndTheRightReaders) {
  const PlacementRule rule(config_of(8, 2), 4, {});
  const std::vector<std::int64_t> shape = {6, 24};
  std::vector<bool> owners;
  std::vector<std::int64_t> begins;
  for (int rank = 0; rank < 4; ++rank) {
    const Placement placement = rule.of("model.layers.0.self_attn.k_proj.weight", shape, rank);
    EXPECT_EQ(placement.axis, -1);
    EXPECT_EQ(placement.part, GradientPart::kPartial);
    owners.push_back(placement.owner);
    begins.push_back(placement.used.begin);
  }
  EXPECT_EQ(owners, (std::vector<bool>{true, false, true, false}));
  EXPECT_EQ(begins, (std::vector<std::int64_t>{0, 0, 3, 3}));
}

// The table of the sums that tensor parallelism needs.
TEST(Placement, KnowsWhichGradientsArePartial) {
  const auto part = [](const AdapterOptions& adapter, const char* module, const char* leaf,
                       const std::vector<std::int64_t>& shape) {
    const PlacementRule rule(config_of(8, 8), 2, adapter);
    return rule.of(std::string("model.layers.0.") + module + "." + leaf, shape, 0).part;
  };
  const AdapterOptions output, input{.magnitude_axis = MagnitudeAxis::kInput},
      dropped{.dropout = 0.1, .dropout_scope = DropoutScope::kInput};
  const char *column = "self_attn.q_proj", *row = "mlp.down_proj";
  EXPECT_EQ(part(output, column, "lora_A", {4, 24}), GradientPart::kPartial);
  EXPECT_EQ(part(output, column, "lora_B", {24, 4}), GradientPart::kSharded);
  EXPECT_EQ(part(output, row, "lora_A", {4, 37}), GradientPart::kSharded);
  EXPECT_EQ(part(output, row, "lora_B", {24, 4}), GradientPart::kPartial);
  EXPECT_EQ(part(output, column, "lora_magnitude_vector", {24}), GradientPart::kSharded);
  EXPECT_EQ(part(output, row, "lora_magnitude_vector", {24}), GradientPart::kComplete);
  EXPECT_EQ(part(dropped, row, "lora_magnitude_vector", {24}), GradientPart::kPartial);
  EXPECT_EQ(part(input, column, "lora_magnitude_vector", {24}), GradientPart::kPartial);
  EXPECT_EQ(part(input, row, "lora_magnitude_vector", {37}), GradientPart::kSharded);
  EXPECT_EQ(part(output, "self_attn.o_proj", "bias", {24}), GradientPart::kComplete);
  EXPECT_EQ(part(output, "self_attn.q_norm", "weight", {3}), GradientPart::kPartial);
  EXPECT_EQ(part(output, "input_layernorm", "weight", {24}), GradientPart::kComplete);
}

TEST(Placement, RefusesATensorSizeWithThoseThatWork) {
  try {
    const PlacementRule rule(config_of(12, 4), 3, {});
    ADD_FAILURE() << "3 ranks cannot share 4 KV heads";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kUsage);
    EXPECT_THAT(error.what(), ::testing::AllOf(::testing::HasSubstr("12 attention heads, 4 key/value heads"),
                                               ::testing::HasSubstr("1, 2, 4, 12")));
  }
}

}  // namespace
}  // namespace shardora
