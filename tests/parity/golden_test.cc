// The program, at every split of its ranks, against golden runs of PEFT, of a float64 DoRA and of full training
// (made by make_goldens.py), and against its own run on one rank. Losses and weights alone are blind (Adam hides the
// scale of a gradient), so gradient norms, every tensor's first gradient and the update θ - θ₀ are compared too.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>

#include "runtime/formats/safetensors.h"
#include "tests/support/run_program.h"

namespace shardora {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Largest relative differences.
struct Tolerance {
  double loss, gradient_norm, gradient, update;
};
// Seen: 1e-7, 6e-7, 4e-6 and 3e-4 against the float64 references, the same between splits.
constexpr Tolerance kOfReference = {.loss = 1e-6, .gradient_norm = 1e-5, .gradient = 3e-5, .update = 2e-3};
constexpr Tolerance kOfOneRank = {.loss = 1e-6, .gradient_norm = 1e-5, .gradient = 3e-5, .update = 1e-3};
constexpr double kHeldOutLoss = 1e-6;  // of adapters and models that PEFT wrote, and of merged ones

constexpr Split kOneRank = {1, 1};
constexpr Split kSplits[] = {{2, 1}, {2, 2}, {4, 1}, {4, 2}, {4, 4}};

const fs::path kGolden = fs::path(SHARDORA_SOURCE_DIR) / "tests/parity/golden";

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGolden)) {
    if (fs::exists(entry.path() / "expected.json")) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

using Tensors = std::map<std::string, std::vector<double>>;

// By the names that PEFT (or transformers) writes.
Tensors read_tensors(const fs::path& file) {
  Tensors tensors;
  for (auto& [name, tensor] : read_safetensors(file)) {
    const std::span<float> values = tensor.f32();
    tensors[name].assign(values.begin(), values.end());
  }
  return tensors;
}

double norm(const std::vector<double>& a) {
  double sum = 0;
  for (const double v : a) sum += v * v;
  return std::sqrt(sum);
}

std::vector<double> minus(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) out[i] = a[i] - b[i];
  return out;
}

// What one training run gave, or should have given.
struct Training {
  std::vector<double> losses, gradient_norms, learning_rates;
  double held_out_loss = 0;
  Tensors first_gradients, final;  // by names on disk
};

class Case {
 public:
  explicit Case(const std::string& name)
      : folder_(kGolden / name), expected_(json::parse(std::ifstream(folder_ / "expected.json"))) {}

  bool full() const { return expected_.at("method") == "full"; }
  fs::path file(const char* key) const { return kGolden / expected_.at(key).get<std::string>(); }
  fs::path init() const { return folder_ / "init"; }
  fs::path final_folder() const { return folder_ / "final"; }
  double held_out_loss(const char* of) const { return expected_.at("held_out_loss").at(of); }
  Tensors start() const { return read_tensors(full() ? file("model") / "model.safetensors" : init() / kAdapterFile); }

  Training reference() const {
    return {.losses = expected_.at("losses"),
            .gradient_norms = expected_.at("gradient_norms"),
            .learning_rates = expected_.at("learning_rates"),
            .held_out_loss = held_out_loss("final"),
            .first_gradients = read_tensors(folder_ / "step1_gradients.safetensors"),
            .final = read_tensors(final_folder() / (full() ? "model.safetensors" : kAdapterFile))};
  }

  Training train(const Split& split, const TemporaryFolder& scratch, const std::vector<std::string>& more = {}) const {
    const fs::path output = scratch / ("run-" + std::to_string(runs_++));
    std::vector<std::string> words = {"train",
                                      "--model.path=" + file("model").string(),
                                      "--data.train=" + file("train").string(),
                                      "--data.eval=" + file("held_out").string(),
                                      "--output.dir=" + output.string(),
                                      "--output.checkpoint_every=1",
                                      "--output.keep=99"};
    for (const json& word : expected_.at("arguments")) words.push_back(word);
    if (!full()) words.push_back("--adapter.path=" + init().string());
    // So small that a step takes several micro-batches wherever there are fewer ranks than sequences.
    if (more.empty()) words.push_back("--train.micro_batch_tokens=32");
    words.insert(words.end(), more.begin(), more.end());
    must_run(split, words);

    Training run;
    std::ifstream metrics(output / "metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) {
      const json object = json::parse(line);
      if (object.contains("eval_loss")) {
        run.held_out_loss = object.at("eval_loss");
        continue;
      }
      run.losses.push_back(object.at("loss"));
      run.gradient_norms.push_back(object.at("gradient_norm"));
      run.learning_rates.push_back(object.at("learning_rate"));
    }
    run.final = read_tensors(full() ? output / "model/model.safetensors" : output / "adapter" / kAdapterFile);
    run.first_gradients = first_gradients(output / "checkpoints/step-1/state.safetensors", run.gradient_norms.at(0));
    return run;
  }

 private:
  static constexpr const char* kAdapterFile = "adapter_model.safetensors";

  // After one step Adam's first moment is (1 - beta1) times the clipped gradient.
  Tensors first_gradients(const fs::path& state, double gradient_norm) const {
    constexpr double kBeta1 = 0.9;
    const double factor =
        (1 - kBeta1) * std::min(1.0, expected_.at("clip_norm").get<double>() / (gradient_norm + 1e-6));
    const std::string prefix = "moment1.";
    Tensors gradients;
    for (auto& [name, tensor] : read_safetensors(state)) {
      if (!name.starts_with(prefix)) continue;
      std::vector<double>& values = gradients[disk_name(name.substr(prefix.size()))];
      for (const float v : tensor.f32()) values.push_back(v / factor);
    }
    return gradients;
  }

  // The program's own tensor names are PEFT's without the ends.
  std::string disk_name(const std::string& name) const {
    if (full()) return name;
    return "base_model.model." + name + (name.ends_with("lora_magnitude_vector") ? "" : ".weight");
  }

  fs::path folder_;
  json expected_;
  mutable int runs_ = 0;
};

void expect_close(double value, double reference, double tolerance, const std::string& what) {
  EXPECT_LE(std::abs(value - reference), tolerance * std::abs(reference))
      << what << ": " << value << " and " << reference;
}

std::vector<std::string> names_of(const Tensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, values] : tensors) names.push_back(name);
  return names;
}

// The reference may be another program's run or this one's at another split.
void compare(const Training& run, const Training& reference, const Tensors& start, const Tolerance& tolerance) {
  ASSERT_EQ(run.losses.size(), reference.losses.size());
  for (std::size_t k = 0; k < run.losses.size(); ++k) {
    const std::string step = " of step " + std::to_string(k + 1);
    expect_close(run.losses[k], reference.losses[k], tolerance.loss, "loss" + step);
    expect_close(run.gradient_norms[k], reference.gradient_norms[k], tolerance.gradient_norm, "gradient norm" + step);
    expect_close(run.learning_rates[k], reference.learning_rates[k], 1e-12, "learning rate" + step);
  }
  expect_close(run.held_out_loss, reference.held_out_loss, tolerance.loss, "held-out loss");
  ASSERT_EQ(names_of(run.first_gradients), names_of(reference.first_gradients));
  for (const auto& [name, gradient] : reference.first_gradients) {
    ASSERT_EQ(run.first_gradients.at(name).size(), gradient.size()) << name;
    EXPECT_LE(norm(minus(run.first_gradients.at(name), gradient)), tolerance.gradient * norm(gradient))
        << "gradient of " << name << ", whose norm is " << norm(gradient);
  }
  ASSERT_EQ(names_of(run.final), names_of(reference.final));
  for (const auto& [name, tensor] : reference.final) {
    ASSERT_EQ(run.final.at(name).size(), tensor.size()) << name;
    const double update = norm(minus(tensor, start.at(name)));
    EXPECT_GT(update, 0) << name << " never changed";
    EXPECT_LE(norm(minus(run.final.at(name), tensor)), tolerance.update * update)
        << "update of " << name << ", whose norm is " << update;
  }
}

class Golden : public testing::TestWithParam<std::string> {
 protected:
  const Case case_{GetParam()};
  const TemporaryFolder scratch_;
};

TEST_P(Golden, EverySplitTrainsAsTheReferenceDoes) {
  const Training reference = case_.reference();
  const Tensors start = case_.start();
  const Training one_rank = case_.train(kOneRank, scratch_);
  {
    SCOPED_TRACE("one rank against the reference");
    compare(one_rank, reference, start, kOfReference);
  }
  for (const Split& split : kSplits) {
    SCOPED_TRACE(to_string(split));
    const Training run = case_.train(split, scratch_);
    {
      SCOPED_TRACE("against the reference");
      compare(run, reference, start, kOfReference);
    }
    SCOPED_TRACE("against one rank");
    compare(run, one_rank, start, kOfOneRank);
  }
}

TEST_P(Golden, HeldOutLossesOfBaseStartEndAndMergeAreTheReferences) {
  const auto loss = [&](const fs::path& model, const std::optional<fs::path>& adapter, const Split& split) {
    std::vector<std::string> words = {"eval", "--model.path=" + model.string(),
                                      "--data.eval=" + case_.file("held_out").string()};
    if (adapter) words.push_back("--adapter.path=" + adapter->string());
    return must_run(split, words).at("loss").get<double>();
  };
  const fs::path base = case_.file("model");
  expect_close(loss(base, {}, kOneRank), case_.held_out_loss("base"), kHeldOutLoss, "base model");
  if (case_.full()) {
    expect_close(loss(case_.final_folder(), {}, kOneRank), case_.held_out_loss("final"), kHeldOutLoss, "trained model");
    return;
  }
  for (const Split& split : {kOneRank, Split{4, 4}}) {
    SCOPED_TRACE(to_string(split));
    expect_close(loss(base, case_.init(), split), case_.held_out_loss("init"), kHeldOutLoss, "first adapter");
  }
  expect_close(loss(base, case_.final_folder(), kOneRank), case_.held_out_loss("final"), kHeldOutLoss, "last adapter");
  const fs::path merged = scratch_ / "merged";
  must_run(kOneRank, {"merge", "--model.path=" + base.string(), "--adapter.path=" + case_.init().string(),
                      "--output.dir=" + merged.string(), "--merge.dtype=float32"});
  expect_close(loss(merged, {}, kOneRank), case_.held_out_loss("init"), kHeldOutLoss, "merged model");
}

std::string test_name(const testing::TestParamInfo<std::string>& name) { return name.param; }
INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(case_names()), test_name);

// Equal for every way to cut one global batch with uneven masks into micro-batches.
TEST(MicroBatches, AnyCutOfAStepTrainsAsTheReferenceDoes) {
  const Case golden("qwen2_dora");
  const TemporaryFolder scratch;
  const Training reference = golden.reference();
  const Tensors start = golden.start();
  for (const Split& split : {kOneRank, Split{2, 1}, Split{4, 2}}) {
    for (const std::vector<std::string>& cut : {std::vector<std::string>{"--train.micro_batch_tokens=1"},
                                                {"--train.micro_batch_tokens=47"},
                                                {"--train.micro_batch_tokens=8192"},
                                                {"--data.packing=false"}}) {
      SCOPED_TRACE(to_string(split) + " " + cut[0]);
      compare(golden.train(split, scratch, cut), reference, start, kOfReference);
    }
  }
}

// Three data ranks share eight sequences unevenly.
TEST(MicroBatches, UnevenSharesTrainAsTheReferenceDoes) {
  const Case golden("llama_biases_dora");
  const TemporaryFolder scratch;
  compare(golden.train({3, 1}, scratch), golden.reference(), golden.start(), kOfReference);
}

}  // namespace
}  // namespace shardora
