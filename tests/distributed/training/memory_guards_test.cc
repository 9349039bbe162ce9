// Memory that changes by itself, and steps whose loss is not finite: found on the rank where it happens, named, and
// never applied.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <set>

#include "runtime/comm/agreement.h"
#include "runtime/train/guards.h"
#include "tests/support/small_training.h"

namespace shardora {
namespace {

using ::testing::HasSubstr;
using testing::small_config;
using testing::small_options;
using testing::SmallModel;
using testing::SmallTraining;

std::uint64_t drawn(std::uint64_t trial, const char* what, std::uint64_t below) {
  return random_bits(random_key(5, "memory", what), trial) % below;
}

void flip(TensorView view, std::uint64_t bit) {
  auto* const bytes = static_cast<std::uint8_t*>(view.data);
  bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1U << (bit % 8)));
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::kCorruption);
    return *error.what() != 0 ? error.what() : "(said by another rank)";
  }
  return "";
}

constexpr std::uint64_t kFlips = 100;

TEST(FrozenWeights, ThatChangeInOneBitAreFoundAndNamedEachTime) {
  for (const char* const layouts : {"two", "one"}) {
    RunOptions options = small_options({});
    options.model.weight_layouts = layouts;
    SmallModel model(options, small_config(), false, true, BackendKind::kCpu);
    const FrozenGuard guard(model.backend(), model.model().decoder());
    EXPECT_NO_THROW(guard.check(0));
    const std::vector<Decoder::FrozenBytes> all = model.model().decoder().frozen_bytes();
    for (std::uint64_t trial = 0; trial < kFlips; ++trial) {
      const Decoder::FrozenBytes& weight = all[drawn(trial, "tensor", all.size())];
      if (weight.bytes.bytes() == 0) continue;
      const std::uint64_t bit = drawn(trial, "bit", static_cast<std::uint64_t>(weight.bytes.bytes()) * 8);
      flip(weight.bytes, bit);
      const std::string message = message_of([&] { guard.check(3); });
      EXPECT_THAT(message, HasSubstr("frozen tensor " + weight.name + " has changed in the memory of rank 3"));
      flip(weight.bytes, bit);
    }
    EXPECT_NO_THROW(guard.check(0));
  }
}

TEST(FrozenWeights, EveryTensorOfTheBaseIsGuardedInEachOfItsCopies) {
  SmallModel model(small_options({}), small_config(), false, true, BackendKind::kCpu);
  EXPECT_EQ(FrozenGuard(model.backend(), model.model().decoder()).bytes(), model.model().decoder().weight_bytes());
  std::set<std::string> guarded;
  for (const auto& weight : model.model().decoder().frozen_bytes()) guarded.insert(weight.name);
  for (const NamedShape& tensor : model.model().decoder().tensors()) EXPECT_TRUE(guarded.contains(tensor.name));
}

TEST(FrozenWeights, AreNotThereWhereTheBaseTrains) {
  SmallModel model(small_options({.method = AdapterMethod::kFull}), small_config(), false, true, BackendKind::kCpu);
  EXPECT_TRUE(model.model().decoder().frozen_bytes().empty());
}

TEST(Replicas, ThatDifferInOneBitAreFoundWithTensorAndRankEachTime) {
  const auto ranks = static_cast<std::uint64_t>(test_world().size());
  if (ranks == 1) return;
  SmallModel model(small_options({}), small_config(), false, true, BackendKind::kCpu);
  ParameterSet& set = model.model().parameters();
  for (std::uint64_t trial = 0; trial < kFlips; ++trial) {
    const std::size_t i = drawn(trial, "parameter", set.all().size());
    if (set.all()[i].offset >= set.replicated_elements()) continue;
    const TensorView parts[] = {set.value(i), set.moment1(i), set.moment2(i)};
    const TensorView part = parts[drawn(trial, "part", 3)];
    const auto rank = static_cast<int>(drawn(trial, "rank", ranks));
    const std::uint64_t bit = drawn(trial, "bit", static_cast<std::uint64_t>(part.bytes()) * 8);
    if (test_world().rank() == rank) flip(part, bit);
    const std::string message = message_of([&] { require_equal_replicas(model.backend(), model.grid(), set); });
    EXPECT_FALSE(message.empty());
    if (test_world().rank() == 0) {
      EXPECT_THAT(message, HasSubstr(" of " + set.all()[i].name + " differs on rank"));
      EXPECT_THAT(message, HasSubstr("rank " + std::to_string(rank) + " "));
      EXPECT_EQ(message.find(" and rank ") == std::string::npos, ranks > 2) << message;
    }
    if (test_world().rank() == rank) flip(part, bit);
  }
  EXPECT_NO_THROW(require_equal_replicas(model.backend(), model.grid(), set));
}

// While it lives, one rank's model computes nothing finite.
class Poison {
 public:
  explicit Poison(SmallTraining& training) : weight_(first_norm(training).span<float>()[0]), before_(weight_) {
    if (test_world().rank() == test_world().size() - 1) weight_ = std::numeric_limits<float>::infinity();
  }
  ~Poison() { weight_ = before_; }
  Poison(const Poison&) = delete;
  Poison& operator=(const Poison&) = delete;

 private:
  static TensorView first_norm(SmallTraining& training) {
    for (const auto& weight : training.model().decoder().frozen_bytes()) {
      if (weight.name == "model.layers.0.input_layernorm.weight") return weight.bytes;
    }
    throw std::runtime_error("no such weight");
  }
  float& weight_;
  float before_;
};

RunOptions skipping(std::int64_t steps) {
  RunOptions options = small_options({});
  options.train.skip_nonfinite = steps;
  return options;
}

std::vector<float> values_of(SmallTraining& training) {
  const std::span<const float> values = training.model().parameters().values().span<float>();
  return {values.begin(), values.end()};
}

const std::vector<std::int64_t> kLengths = {12, 9, 17, 5, 20, 8, 11, 6};

TEST(NotFiniteSteps, AreSkippedByAllRanksAlikeAndLeaveNothing) {
  for (const bool tensor_parallel : {false, true}) {
    SmallTraining training(skipping(2), kLengths, tensor_parallel, 10);
    EXPECT_FALSE(training.run(1).skipped);
    const std::vector<float> before = values_of(training);
    {
      const Poison poison(training);
      for (const std::int64_t step : {2, 3}) {
        const TrainStep::Result result = training.run(step);
        EXPECT_TRUE(result.skipped);
        EXPECT_FALSE(std::isfinite(result.loss) && std::isfinite(result.gradient_norm));
      }
    }
    EXPECT_EQ(values_of(training), before);
    const TrainStep::Result after = training.run(4);
    EXPECT_FALSE(after.skipped);
    EXPECT_TRUE(std::isfinite(after.loss));
    EXPECT_NE(values_of(training), before);
  }
}

TEST(NotFiniteSteps, EndTheRunWhenThereAreTooManyInARow) {
  SmallTraining training(skipping(1), kLengths, false, 10);
  const auto run_poisoned = [&](std::int64_t step) {
    const Poison poison(training);
    return training.run(step).skipped;
  };
  EXPECT_TRUE(run_poisoned(1));
  EXPECT_FALSE(training.run(2).skipped);  // ends the row
  EXPECT_TRUE(run_poisoned(3));
  EXPECT_THROW(run_poisoned(4), AgreedError);
}

}  // namespace
}  // namespace shardora
