// Sharded cross-entropy: whole and in uneven column shards, against float64 and finite differences. Logits are fp32;
// the gradient has the activations' type: fp32 goes over the logits, bfloat16 into memory of its own.
#include "kernels/cross_entropy.h"

#include <limits>

#include "tests/support/random_tensor.h"

namespace shardora {
namespace {

using support::index;
using support::kFp32;
using support::Vector;

struct LossReference {
  double loss = 0, correct = 0;
  Vector gradient;
};

LossReference loss_reference(const Vector& logits, const std::vector<std::int64_t>& targets) {
  LossReference result{.gradient = logits};
  const std::size_t columns = targets.empty() ? 0 : logits.size() / targets.size();
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const double* row = logits.data() + t * columns;
    const double max = *std::max_element(row, row + columns);
    double sum = 0;
    for (std::size_t j = 0; j < columns; ++j) sum += std::exp(row[j] - max);
    const double target = row[targets[t]];
    result.loss += std::log(sum) + max - target;
    result.correct += target == max ? 1 : 0;
    for (std::size_t j = 0; j < columns; ++j) result.gradient[t * columns + j] = std::exp(row[j] - max) / sum;
    result.gradient[t * columns + index(targets[t])] -= 1;
  }
  return result;
}

std::vector<std::int64_t> some_targets(std::int64_t rows, std::int64_t columns) {
  std::vector<std::int64_t> targets;
  for (std::int64_t t = 0; t < rows; ++t) targets.push_back((t * 31 + 5) % columns);
  return targets;
}

class CrossEntropyTest : public support::ActivationTest {
 protected:
  // Runs the three passes on column shards that begin at `starts` (the first is 0) and stands in for the two
  // collectives by hand. Returns each shard's operation as it ended.
  std::vector<CrossEntropy> run(const Vector& logits, const std::vector<std::int64_t>& targets, std::int64_t columns,
                                std::vector<std::int64_t> starts, float scale = 1, bool gradient = true) {
    const auto rows = static_cast<std::int64_t>(targets.size());
    starts.push_back(columns);
    std::vector<CrossEntropy> shards;
    for (std::size_t s = 0; s + 1 < starts.size(); ++s) {
      const std::int64_t width = starts[s + 1] - starts[s];
      Vector part;
      for (std::int64_t t = 0; t < rows; ++t) {
        const auto row = logits.begin() + t * columns;
        part.insert(part.end(), row + starts[s], row + starts[s + 1]);
      }
      shards.push_back({.logits = floats({rows, width}, part),
                        .dlogits = narrow() ? unwritten_activations({rows, width}) : TensorView{},
                        .targets = ints(targets),
                        .first_column = starts[s],
                        .row_max = unwritten({rows}),
                        .sums = unwritten({2, rows}),
                        .loss = make<double>({2}, Vector{10, 100}),
                        .gradient_scale = scale,
                        .write_gradient = gradient});
      cross_entropy_max(*backend_, shards.back());
    }
    reduce(shards, &CrossEntropy::row_max, [](float a, float b) { return std::max(a, b); });
    for (CrossEntropy& shard : shards) cross_entropy_sum(*backend_, shard);
    reduce(shards, &CrossEntropy::sums, [](float a, float b) { return a + b; });
    for (CrossEntropy& shard : shards) cross_entropy_finish(*backend_, shard);
    return shards;
  }

  static TensorView gradient_of(const CrossEntropy& op) { return op.dlogits ? op.dlogits : op.logits; }
  // The shards' gradients side by side again.
  Vector whole_gradient(const std::vector<CrossEntropy>& shards, std::int64_t columns) {
    Vector whole(index(shards[0].targets.elements() * columns));
    for (const CrossEntropy& shard : shards) {
      const std::vector<float> part = read(gradient_of(shard));
      const std::int64_t width = shard.logits.size(1);
      for (std::int64_t i = 0; i < shard.logits.elements(); ++i) {
        whole[index(i / width * columns + shard.first_column + i % width)] = part[index(i)];
      }
    }
    return whole;
  }

 private:
  template <class Combine>
  void reduce(std::vector<CrossEntropy>& shards, TensorView CrossEntropy::*field, Combine combine) {
    std::vector<float> total = read(shards[0].*field);
    for (std::size_t s = 1; s < shards.size(); ++s) {
      const std::vector<float> other = read(shards[s].*field);
      std::transform(total.begin(), total.end(), other.begin(), total.begin(), combine);
    }
    for (CrossEntropy& shard : shards) shard.*field = make<float>((shard.*field).shape, total);
  }
};

TEST_P(CrossEntropyTest, LossAndGradientMatchFloat64AtOddSizes) {
  for (const std::int64_t rows : {0, 1, 17, 127}) {
    for (const std::int64_t columns : {1, 17, 128, 1031, 1036, 2049}) {
      const Vector logits = support::random_vector(rows * columns, 1, -6, 9);
      const std::vector<std::int64_t> targets = some_targets(rows, columns);
      const LossReference expected = loss_reference(logits, targets);
      const CrossEntropy op = run(logits, targets, columns, {0})[0];
      const std::vector<double> loss = read<double>(op.loss);
      EXPECT_NEAR(loss[0], 10 + expected.loss, kFp32 * (10 + expected.loss));
      EXPECT_EQ(loss[1], 100 + expected.correct);
      expect_output(gradient_of(op), expected.gradient, "dlogits");
    }
  }
}

TEST_P(CrossEntropyTest, GradientMatchesFiniteDifferencesAndCarriesTheScale) {
  const Vector logits = support::random_vector(3 * 29, 2, -3, 4);
  const std::vector<std::int64_t> targets{0, 28, 13};
  const CrossEntropy op = run(logits, targets, 29, {0}, 0.37F)[0];
  Vector expected =
      support::finite_difference([&](const Vector& at) { return loss_reference(at, targets).loss; }, logits);
  for (double& value : expected) value *= 0.37F;
  expect_output(gradient_of(op), expected, "dlogits");
}

TEST_P(CrossEntropyTest, UnevenColumnShardsGiveWhatTheWholeGives) {
  const std::int64_t rows = 17;
  const std::int64_t columns = 127;
  const Vector logits = support::random_vector(rows * columns, 3, -6, 9);
  const std::vector<std::int64_t> targets = some_targets(rows, columns);
  const LossReference expected = loss_reference(logits, targets);
  // The last two have shards without columns, as a small vocabulary on many ranks leaves.
  for (const std::vector<std::int64_t>& starts :
       {std::vector<std::int64_t>{0, 50}, {0, 1, 18, 90}, {0, 127}, {0, 0, 64, 64}}) {
    const std::vector<CrossEntropy> shards = run(logits, targets, columns, starts);
    for (const CrossEntropy& shard : shards) {
      const std::vector<double> loss = read<double>(shard.loss);
      EXPECT_NEAR(loss[0], 10 + expected.loss, kFp32 * expected.loss);
      EXPECT_EQ(loss[1], 100 + expected.correct);
    }
    support::expect_close(whole_gradient(shards, columns), expected.gradient, narrow() ? support::kBf16 : kFp32,
                          "dlogits");
  }
}

TEST_P(CrossEntropyTest, ShardWithoutColumnsHasTheNeutralElements) {
  CrossEntropy op{
      .logits = floats({3, 0}, {}), .targets = ints({0, 1, 2}), .row_max = unwritten({3}), .sums = unwritten({2, 3})};
  cross_entropy_max(*backend_, op);
  EXPECT_EQ(read(op.row_max), std::vector<float>(3, -std::numeric_limits<float>::infinity()));
  op.row_max = floats({1, 2, 3});
  cross_entropy_sum(*backend_, op);
  EXPECT_EQ(read(op.sums), std::vector<float>(6, 0.0F));
}

TEST_P(CrossEntropyTest, CountsRowsWhoseTargetIsTheLargest) {
  const Vector logits{1, 5, 2, /**/ 7, 0, 7, /**/ -1, -3, -2};
  const CrossEntropy op = run(logits, {1, 2, 1}, 3, {0})[0];
  EXPECT_EQ(read<double>(op.loss)[1], 102);  // a tie counts
}

TEST_P(CrossEntropyTest, HugeAndDistantLogitsStayFinite) {
  const Vector logits{1e30, -1e30, 0, /**/ -500, -300, -400, /**/ 80, 90, 2e4};
  const std::vector<std::int64_t> targets{0, 1, 2};
  const CrossEntropy op = run(logits, targets, 3, {0})[0];
  EXPECT_NEAR(read<double>(op.loss)[0], 10, 1e-9);
  for (const float value : read(gradient_of(op))) EXPECT_NEAR(value, 0, 1e-30);
}

TEST_P(CrossEntropyTest, NotANumberAndInfinityReachTheLoss) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    for (const std::size_t column : {0U, 15U, 16U, 126U}) {
      for (const std::vector<std::int64_t>& starts : {std::vector<std::int64_t>{0}, {0, 40}}) {
        Vector logits = support::random_vector(2 * 127, 4);
        logits[127 + column] = bad;
        for (const CrossEntropy& shard : run(logits, {3, 4}, 127, starts)) {
          EXPECT_TRUE(std::isnan(read<double>(shard.loss)[0])) << "column " << column;
        }
      }
    }
  }
  const Vector all_bad(2 * 17, std::nan(""));
  EXPECT_TRUE(std::isnan(read<double>(run(all_bad, {0, 1}, 17, {0})[0].loss)[0]));
}

TEST_P(CrossEntropyTest, EvaluationLeavesTheLogitsAlone) {
  const Vector logits = support::random_vector(5 * 17, 5);
  const CrossEntropy op = run(logits, some_targets(5, 17), 17, {0}, 1, false)[0];
  support::expect_close(read(op.logits), logits, 0, "logits");
  EXPECT_GT(read<double>(op.loss)[0], 10);
}

TEST_P(CrossEntropyTest, LeavesTheLogitsWhereItsGradientGoesElsewhere) {
  const Vector logits = support::random_vector(3 * 20, 2);
  CrossEntropy op{.logits = floats({3, 20}, logits),
                  .dlogits = unwritten_activations({3, 20}),
                  .targets = ints({0, 19, 7}),
                  .row_max = floats({2, 2, 2}),
                  .sums = floats({2, 3}, {5, 5, 5, 1, 1, 1}),
                  .loss = make<double>({2}, Vector{0, 0})};
  if (backend_->kind() == BackendKind::kCpu) GTEST_SKIP() << "the CPU's gradient always goes over the logits";
  cross_entropy_finish(*backend_, op);
  support::expect_close(read(op.logits), logits, 0, "logits");
  EXPECT_NEAR(read(op.dlogits)[0], std::exp(logits[0] - 2) / 5 - 1, support::kBf16);
}

TEST_P(CrossEntropyTest, RefusesARoundedGradientOverTheLogits) {
  if (!narrow()) GTEST_SKIP() << "fp32 goes over the logits";
  CrossEntropy op{.logits = floats({1, 4}, Vector(4)),
                  .targets = ints({0}),
                  .row_max = floats({0}),
                  .sums = floats({2, 1}, {1, 0}),
                  .loss = make<double>({2}, Vector{0, 0})};
  op.dlogits = {op.logits.data, DType::kBF16, {1, 4}};
  EXPECT_THROW(cross_entropy_finish(*backend_, op), Error);
}

SHARDORA_OVER_TYPES(CrossEntropyTest);

}  // namespace
}  // namespace shardora
