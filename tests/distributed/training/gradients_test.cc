// Gradients of whole steps: the tensor group's equal one rank's, tensor by tensor, and one rank's agree with finite
// differences of the loss, for every method, axis, dropout scope and norm gradient.
#include <gmock/gmock.h>

#include <set>

#include "runtime/comm/agreement.h"
#include "runtime/train/guards.h"
#include "tests/support/small_model.h"

namespace shardora {
namespace {

using testing::small_config;
using testing::small_options;
using testing::SmallModel;
using testing::worst_difference;

struct Case {
  std::string name;
  AdapterOptions adapter;
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

std::vector<Case> cases() {
  std::vector<Case> all = {{"lora", {.method = AdapterMethod::kLora}},
                           {"lora_dropout", {.method = AdapterMethod::kLora, .dropout = 0.4}},
                           {"full", {.method = AdapterMethod::kFull}}};
  for (const MagnitudeAxis axis : {MagnitudeAxis::kOutput, MagnitudeAxis::kInput}) {
    for (const NormGradient gradient : {NormGradient::kDetached, NormGradient::kExact}) {
      for (const double dropout : {0.0, 0.4}) {
        for (const DropoutScope scope : {DropoutScope::kInput, DropoutScope::kAdapter}) {
          if (dropout == 0 && scope == DropoutScope::kAdapter) continue;
          std::string name = axis == MagnitudeAxis::kOutput ? "output" : "input";
          name += gradient == NormGradient::kExact ? "_exact" : "_detached";
          if (dropout > 0) name += scope == DropoutScope::kInput ? "_dropout_input" : "_dropout_adapter";
          all.push_back(
              {name, {.dropout = dropout, .dropout_scope = scope, .magnitude_axis = axis, .norm_gradient = gradient}});
        }
      }
    }
  }
  return all;
}

class StepGradients : public ::testing::TestWithParam<Case> {};

TEST_P(StepGradients, OfTheTensorGroupEqualOneRanks) {
  const RunOptions options = small_options(GetParam().adapter);
  SmallModel group(options, small_config(), false), alone(options, small_config(), true);
  if (GetParam().adapter.method != AdapterMethod::kFull) group.perturb(), alone.perturb();
  const double group_loss = group.run(), alone_loss = alone.run();
  EXPECT_NEAR(group_loss, alone_loss, 2e-6 * alone_loss);
  EXPECT_NEAR(gradient_norm(group.backend(), group.grid(), group.model().parameters()) /
                  gradient_norm(alone.backend(), alone.grid(), alone.model().parameters()),
              1.0, 1e-5);
  const auto gathered = group.gather(true), whole = alone.gather(true);
  if (test_world().rank() == 0) {
    EXPECT_LT(worst_difference(gathered, whole), 5e-5);
  }
}

// Replicated tensors must stay bitwise equal over the group, or replicas drift apart.
TEST_P(StepGradients, OfReplicatedTensorsAreBitwiseEqualOnAllRanks) {
  const RunOptions options = small_options(GetParam().adapter);
  SmallModel group(options, small_config(), false);
  if (GetParam().adapter.method != AdapterMethod::kFull) group.perturb();
  group.run();
  const ParameterSet& set = group.model().parameters();
  const TensorView replicated = set.gradients().rows(0, set.replicated_elements());
  std::vector<float> low(replicated.span<float>().begin(), replicated.span<float>().end()), high = low;
  test_world().all_reduce(view_of(std::span(low), {std::ssize(low)}), Reduction::kMin, {});
  test_world().all_reduce(view_of(std::span(high), {std::ssize(high)}), Reduction::kMax, {});
  EXPECT_EQ(low, high);
}

TEST_P(StepGradients, AgreeWithFiniteDifferencesOfTheLoss) {
  const AdapterOptions& adapter = GetParam().adapter;
  SmallModel model(small_options(adapter), small_config(), true);
  if (adapter.method != AdapterMethod::kFull) model.perturb();
  model.run();
  const auto gradients = model.gather(true);
  const bool norm_moves = adapter.norm_gradient == NormGradient::kExact || adapter.method == AdapterMethod::kFull;
  ParameterSet& set = model.model().parameters();
  double largest = 0;
  for (const auto& [name, gradient] : gradients) largest = std::max(largest, testing::norm_of(gradient));
  for (std::size_t i = 0; i < set.all().size(); ++i) {
    const std::vector<float>& gradient = gradients.at(set.all()[i].name);
    const double length = testing::norm_of(gradient);
    if (length < 0.02 * largest) continue;  // the loss is fp32: too small a slope drowns in its rounding
    const std::span<float> value = set.value(i).span<float>();
    const std::vector<float> before(value.begin(), value.end());
    const double step = 4e-3 / length;  // the loss moves by about this
    const auto loss_at = [&](double sign) {
      for (std::size_t j = 0; j < value.size(); ++j) {
        value[j] = before[j] + static_cast<float>(sign * step * 0.5 / length * static_cast<double>(gradient[j]));
      }
      // With a detached norm the gradient is that of a loss whose norms stand still: the gain of the moved m is still
      // m over the old norm.
      if (norm_moves) {
        model.changed();
      } else if (set.all()[i].kind == ParameterKind::kMagnitude) {
        for (const AdaptedModule& module : model.model().adapter()->modules()) {
          if (module.m != i) continue;
          for (std::size_t j = 0; j < value.size(); ++j) {
            module.gain.span<float>()[j] = value[j] / module.norm.span<float>()[j];
          }
        }
      }
      return model.loss_only();
    };
    const double measured = (loss_at(1) - loss_at(-1)) / step;
    std::copy(before.begin(), before.end(), value.begin());
    model.changed();
    EXPECT_NEAR(measured / length, 1.0, 2e-2) << set.all()[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, StepGradients, ::testing::ValuesIn(cases()),
                         [](const auto& parameter) { return parameter.param.name; });

// A mask that depended on the split, or on the row in a micro-batch, would show in the loss.
TEST(Dropout, ChangesTheLossAndIsDrawnAnewEachStep) {
  const RunOptions with = small_options({.dropout = 0.4}), without = small_options({});
  SmallModel dropped(with, small_config(), false), plain(without, small_config(), false);
  dropped.perturb(), plain.perturb();
  const double first = dropped.loss_only(1), again = dropped.loss_only(1), second = dropped.loss_only(2);
  EXPECT_EQ(first, again);
  EXPECT_NE(first, second);
  EXPECT_NE(first, plain.loss_only(1));
}

TEST(Dropout, DrawsMasksOfItsOwnForEachModule) {
  SmallModel model(small_options({.dropout = 0.4}), small_config(), false);
  std::set<std::uint64_t> keys;
  const std::vector<DoraLinear*> linears = model.model().decoder().linears();
  for (const DoraLinear* linear : linears) keys.insert(linear->adapter->dropout_key.value);
  EXPECT_EQ(keys.size(), linears.size());
}

// One, two and four KV heads on as many ranks as there are: fewer, as many and more heads than ranks.
TEST(KvHeads, OfAnyCountThatFitsGiveOneRanksGradients) {
  for (const std::int64_t heads : {1, 2, 4}) {
    ModelConfig config = small_config();
    config.num_key_value_heads = heads;
    for (const AdapterMethod method : {AdapterMethod::kDora, AdapterMethod::kFull}) {
      const RunOptions options = small_options({.method = method, .norm_gradient = NormGradient::kExact});
      SmallModel group(options, config, false), alone(options, config, true);
      if (method == AdapterMethod::kDora) group.perturb(), alone.perturb();
      EXPECT_NEAR(group.run() / alone.run(), 1.0, 2e-6);
      const auto gathered = group.gather(true), whole = alone.gather(true);
      if (test_world().rank() == 0) {
        EXPECT_LT(worst_difference(gathered, whole), 5e-5) << heads;
      }
    }
  }
}

TEST(Replicas, ThatDifferInOneBitAreFoundBeforeASave) {
  SmallModel model(small_options({}), small_config(), false);
  ParameterSet& set = model.model().parameters();
  EXPECT_NO_THROW(require_equal_replicas(model.backend(), model.grid(), set));
  if (test_world().size() == 1) return;
  if (test_world().rank() == 1) set.values().span<float>()[0] += 1e-3F;  // in the partial part: an A that all hold
  EXPECT_THROW(require_equal_replicas(model.backend(), model.grid(), set), AgreedError);
}

TEST(Forward, WithStaleNormsIsRefused) {
  SmallModel model(small_options({}), small_config(), false);
  model.loss_only();
  model.model().adapter()->parameters_changed();
  EXPECT_THROW(model.loss_only(), Error);
}

TEST(AFreshDoraAdapter, LeavesTheModelAsItIs) {
  SmallModel fresh(small_options({}), small_config(), false);
  SmallModel lora(small_options({.method = AdapterMethod::kLora}), small_config(), false);
  EXPECT_EQ(fresh.loss_only(), lora.loss_only());
  for (const AdaptedModule& module : fresh.model().adapter()->modules()) {
    for (const float gain : module.gain.span<float>()) EXPECT_EQ(gain, 1.0F);
  }
}

TEST(InitialTensors, AreTheSameAtEverySplit) {
  SmallModel group(small_options({}), small_config(), false), alone(small_options({}), small_config(), true);
  const auto gathered = group.gather(false), whole = alone.gather(false);
  if (test_world().rank() != 0) return;
  for (const auto& [name, values] : whole) {
    if (name.ends_with("magnitude_vector")) continue;
    EXPECT_EQ(gathered.at(name), values) << name;
  }
  EXPECT_LT(worst_difference(gathered, whole), 1e-6);
}

}  // namespace
}  // namespace shardora
