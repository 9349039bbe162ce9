// What backward makes again has the bits of what forward made: train.recompute changes memory and time, nothing else.
#include "tests/support/small_model.h"

namespace shardora {
namespace {

using testing::small_config;
using testing::small_options;
using testing::SmallModel;

ModelConfig deeper() {
  ModelConfig config = small_config();
  config.num_hidden_layers = 5;
  config.sliding_windows = {0, 5, 0, 5, 0};
  return config;
}

RunOptions options_with(const AdapterOptions& adapter, Recompute recompute) {
  RunOptions options = small_options(adapter);
  options.train.recompute = recompute;
  return options;
}

struct RecomputedCase {
  std::string name;
  AdapterOptions adapter;
};

std::vector<RecomputedCase> recomputed_cases() {
  return {{"lora", {.method = AdapterMethod::kLora}},
          {"lora_dropout", {.method = AdapterMethod::kLora, .dropout = 0.4}},
          {"full", {.method = AdapterMethod::kFull}},
          {"dora", {}},
          {"dora_some_layers", {.target_modules = {"q_proj", "up_proj", "down_proj"}, .layers = {1, 3}}},
          {"dora_dropout_input", {.dropout = 0.4}},
          {"dora_dropout_adapter", {.dropout = 0.4, .dropout_scope = DropoutScope::kAdapter}},
          {"input_axis", {.magnitude_axis = MagnitudeAxis::kInput, .norm_gradient = NormGradient::kExact}},
          {"input_axis_dropout", {.dropout = 0.4, .magnitude_axis = MagnitudeAxis::kInput}}};
}

class Recomputed : public ::testing::TestWithParam<RecomputedCase> {};

TEST_P(Recomputed, LossAndGradientsHaveTheBitsOfKeptOnes) {
  ModelConfig config = deeper();
  for (const bool query_key_norm : {false, true}) {
    config.query_key_norm = query_key_norm;
    std::map<std::string, std::vector<float>> kept;
    double kept_loss = 0;
    for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
      SmallModel model(options_with(GetParam().adapter, recompute), config, false);
      if (GetParam().adapter.method != AdapterMethod::kFull) model.perturb();
      model.run(1);
      const double loss = model.run(2);  // on buffers that another step has written to
      const auto gradients = model.gather(true);
      if (recompute == Recompute::kNone) kept = gradients, kept_loss = loss;
      EXPECT_EQ(loss, kept_loss);
      EXPECT_EQ(gradients, kept) << "recompute " << static_cast<int>(recompute);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Recomputed, ::testing::ValuesIn(recomputed_cases()),
                         [](const auto& parameter) { return parameter.param.name; });

// Bytes as the arena counts them.
std::int64_t floats(std::int64_t count) { return (count * 4 + 63) / 64 * 64; }

TEST(RecomputedMemory, IsWhatTheDryRunCounts) {
  const ModelConfig config = deeper();
  const std::int64_t tokens = testing::small_batch().size(), layers = config.num_hidden_layers;
  const std::int64_t h = floats(tokens * config.hidden_size);
  std::map<Recompute, std::int64_t> activations, peak;
  std::int64_t intermediate = 0;
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kFull}) {
    SmallModel model(options_with({.method = AdapterMethod::kLora}, recompute), config, false);
    model.run();
    const Arena& plan = model.model().plan();
    activations[recompute] = plan.segments().at("activations");
    peak[recompute] = plan.peak_bytes();
    intermediate = model.model().decoder().linears()[6]->in_features;
    EXPECT_LE(model.model().arena().peak_bytes(), plan.peak_bytes());
  }
  // Selective drops x1, x2 and the product of SwiGLU in every layer; full keeps h of every layer but the first, whose
  // whole slot all use.
  EXPECT_EQ(activations[Recompute::kNone] - activations[Recompute::kSelective],
            layers * (2 * h + floats(tokens * intermediate)));
  const std::int64_t head = 4 * h + floats(tokens);  // h_last, head_x, head_normed, d_head; rstd
  const std::int64_t slot = (activations[Recompute::kNone] - head) / layers;
  EXPECT_EQ(activations[Recompute::kFull], head + slot + (layers - 1) * h);
  EXPECT_LT(peak[Recompute::kSelective], peak[Recompute::kNone]);
  EXPECT_LT(peak[Recompute::kFull], peak[Recompute::kSelective]);
}

// The layers share memory for the largest of them: here not the last, which has nothing to adapt.
TEST(RecomputedMemory, OfTheLargestLayerIsNobodyElses) {
  SmallModel model(options_with({.layers = {1}}, Recompute::kFull), deeper(), false);
  const Activations& activations = model.model().activations();
  const auto end = [](TensorView x) { return static_cast<const std::byte*>(x.data) + x.bytes(); };
  const BlockSaved& largest = activations.slots[1];
  for (const TensorView x : {largest.gate_saved.u, largest.up_saved.u, largest.down_saved.u, largest.activated}) {
    EXPECT_LE(end(x), activations.h_last.data);
  }
}

}  // namespace
}  // namespace shardora
