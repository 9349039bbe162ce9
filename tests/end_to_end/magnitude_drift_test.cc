// Drift by layer in the evaluations, against the adapter that was written and against the drift of all magnitudes.
#include "tests/end_to_end/small_run.h"

namespace shardora {
namespace {

json last_evaluation(const fs::path& run) {
  json last;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    json object = json::parse(line);
    if (object.contains("eval_loss")) last = std::move(object);
  }
  return last;
}

json train_and_evaluate(const Split& split, const fs::path& output, const Words& more = {}) {
  must_run(split, train_words(output) +
                      Words{"--train.steps=3", "--data.eval=" + kHeldOut.string(), "--output.checkpoint_every=1"} +
                      more);
  return last_evaluation(output);
}

// Mean of abs(m / m0 - 1) of a layer, from the last checkpoint's adapter and state.
double drift_on_disk(const fs::path& run, const std::string& layer) {
  const TensorMap adapter = read_safetensors(run / "checkpoints/step-3/adapter/adapter_model.safetensors"),
                  state = read_safetensors(run / "checkpoints/step-3/state.safetensors");
  double sum = 0, count = 0;
  for (const auto& [name, initial] : state) {
    if (name.rfind("initial." + layer, 0) != 0) continue;
    const HostTensor& now = adapter.at("base_model.model." + name.substr(8));
    const auto m = const_cast<HostTensor&>(now).f32(), m0 = const_cast<HostTensor&>(initial).f32();
    for (std::size_t i = 0; i < m.size(); ++i) sum += std::abs(double{m[i]} / double{m0[i]} - 1), count += 1;
  }
  return sum / count;
}

TEST(DriftByLayer, IsThatOfTheFilesOnEverySplit) {
  const TemporaryFolder folder;
  for (const Split& split : {Split{1, 1}, Split{2, 2}, Split{2, 1}}) {
    const fs::path run = folder / std::to_string(10 * split.ranks + split.tensor);
    const auto layers = train_and_evaluate(split, run).at("magnitude_drift_by_layer").get<std::vector<double>>();
    ASSERT_GE(layers.size(), 2U);
    double sum = 0;
    for (std::size_t k = 0; k < layers.size(); ++k) {
      EXPECT_NEAR(layers[k], drift_on_disk(run, "model.layers." + std::to_string(k) + "."), 1e-12);
      EXPECT_GT(layers[k], 1e-4);
      sum += layers[k];
    }
    EXPECT_NE(layers[0], layers[1]);
    double overall = 0;
    std::ifstream file(run / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      const json object = json::parse(line);
      if (object.contains("loss")) overall = object.at("magnitude_drift").at("mean");
    }
    EXPECT_NEAR(sum / static_cast<double>(layers.size()), overall, 1e-12);  // layers are of one size
  }
}

TEST(DriftByLayer, IsNullWhereALayerIsNotAdaptedAndAbsentWithoutMagnitudes) {
  const TemporaryFolder folder;
  const json layers =
      train_and_evaluate({1, 1}, folder / "second", {"--adapter.layers=1"}).at("magnitude_drift_by_layer");
  EXPECT_TRUE(layers.at(0).is_null());
  EXPECT_GT(layers.at(1).get<double>(), 0);
  EXPECT_FALSE(
      train_and_evaluate({1, 1}, folder / "lora", {"--adapter.method=lora"}).contains("magnitude_drift_by_layer"));
}

}  // namespace
}  // namespace shardora
