// The sharded norm of W + s B A: parts summed over the tensor group equal the direct float64 evaluation of the whole.
#include <gmock/gmock.h>

#include "kernels/linear.h"
#include "tests/support/small_model.h"

namespace shardora {
namespace {

using testing::small_config;
using testing::small_options;
using testing::SmallModel;

// ||W + s B A|| of one module, whole, in float64: W read from a model that one rank holds.
std::vector<double> direct_norms(SmallModel& alone, const AdaptedModule& module, MagnitudeAxis axis) {
  const WeightMatrix& weight = *module.linear->weight;
  const std::int64_t out = weight.out_features(), in = weight.in_features(), rank = module.rank;
  std::vector<float> w(static_cast<std::size_t>(out * in));
  weight.read_rows(0, view_of(std::span(w), {out, in}));
  const float *a = module.view.a.as<float>(), *b = module.view.b.as<float>();
  std::vector<double> squares(static_cast<std::size_t>(axis == MagnitudeAxis::kOutput ? out : in), 0.0);
  for (std::int64_t o = 0; o < out; ++o) {
    for (std::int64_t i = 0; i < in; ++i) {
      double v = static_cast<double>(w[static_cast<std::size_t>(o * in + i)]);
      for (std::int64_t k = 0; k < rank; ++k) {
        v += static_cast<double>(module.view.scale) * static_cast<double>(b[o * rank + k]) *
             static_cast<double>(a[k * in + i]);
      }
      squares[static_cast<std::size_t>(axis == MagnitudeAxis::kOutput ? o : i)] += v * v;
    }
  }
  for (double& square : squares) square = std::sqrt(square);
  (void)alone;
  return squares;
}

// Norms of the group, module by module, as logical vectors: sharded pieces side by side, summed ones as they are.
std::vector<double> logical_norm(const SmallModel& group, const ParameterSet& set, const AdaptedModule& module) {
  const Parameter& parameter = set.all()[module.m];
  std::vector<double> logical(static_cast<std::size_t>(parameter.logical_shape[0]), 0.0);
  const std::span<float> norm = module.norm.span<float>();
  const bool whole = parameter.placement.axis < 0;
  for (std::size_t j = 0; j < norm.size(); ++j) {
    const std::size_t at = j + static_cast<std::size_t>(whole ? 0 : parameter.placement.stored.begin);
    logical[at] = whole && group.grid().tensor.rank != 0 ? 0.0 : static_cast<double>(norm[j]);
  }
  group.grid().tensor_group->host().all_reduce(view_of(std::span(logical), {std::ssize(logical)}), Reduction::kSum, {});
  return logical;
}

class ShardedNorms : public ::testing::TestWithParam<MagnitudeAxis> {
 protected:
  // Shards of unequal norm: the features that A sees grow from rank to rank.
  static void set(SmallModel& model, double near_cancelling) {
    model.perturb();
    model.for_each_parameter([&](std::size_t, const Parameter& parameter, std::vector<float>& logical) {
      if (parameter.kind != ParameterKind::kA) return;
      const auto in = static_cast<std::size_t>(parameter.logical_shape[1]);
      for (std::size_t i = 0; i < logical.size(); ++i) {
        logical[i] *= 1.0F + 4.0F * static_cast<float>(i % in) / static_cast<float>(in);
      }
    });
    if (near_cancelling > 0) cancel(model, near_cancelling);
    model.changed();
  }
  // In the first module (a row of q) and the last (a row of down, cut over the ranks): B A = -(1 - share) W in row 1.
  static void cancel(SmallModel& model, double share) {
    SmallModel whole(small_options({.rank = 24, .alpha = 24, .magnitude_axis = GetParam()}), small_config(), true);
    std::map<std::string, std::vector<float>> rows;
    for (const AdaptedModule& module : whole.model().adapter()->modules()) {
      std::vector<float> row(static_cast<std::size_t>(module.linear->in_features));
      module.linear->weight->read_rows(1, view_of(std::span(row), {1, std::ssize(row)}));
      rows[module.linear->name] = row;
    }
    model.for_each_parameter([&](std::size_t, const Parameter& parameter, std::vector<float>& logical) {
      const std::string module = parameter.name.substr(0, parameter.name.rfind('.'));
      const std::vector<float>& row = rows.at(module);
      const std::size_t rank = static_cast<std::size_t>(parameter.logical_shape.back());
      if (parameter.kind == ParameterKind::kA) {  // A's first row is W's row 1
        std::copy(row.begin(), row.end(), logical.begin());
      } else if (parameter.kind == ParameterKind::kB) {  // B's row 1 takes it with weight -(1 - share)
        for (std::size_t k = 0; k < rank; ++k) logical[rank + k] = k == 0 ? static_cast<float>(-(1 - share)) : 0.0F;
      }
    });
  }
  static double worst(double near_cancelling) {
    const RunOptions options = small_options({.rank = 24, .alpha = 24, .magnitude_axis = GetParam()});
    SmallModel group(options, small_config(), false), alone(options, small_config(), true);
    set(group, near_cancelling);
    set(alone, near_cancelling);
    double worst = 0;
    const auto &group_modules = group.model().adapter()->modules(), &whole = alone.model().adapter()->modules();
    for (std::size_t k = 0; k < whole.size(); ++k) {
      const std::vector<double> truth = direct_norms(alone, whole[k], GetParam());
      const std::vector<double> found = logical_norm(group, group.model().parameters(), group_modules[k]);
      for (std::size_t j = 0; j < truth.size(); ++j) worst = std::max(worst, std::abs(found[j] - truth[j]) / truth[j]);
    }
    return worst;
  }
};

TEST_P(ShardedNorms, EqualTheDirectEvaluation) { EXPECT_LT(worst(0), 1e-6); }

TEST_P(ShardedNorms, HoldWhereRowsNearlyCancel) { EXPECT_LT(worst(0.01), 1e-4); }

INSTANTIATE_TEST_SUITE_P(Axes, ShardedNorms, ::testing::Values(MagnitudeAxis::kOutput, MagnitudeAxis::kInput),
                         [](const auto& parameter) {
                           return parameter.param == MagnitudeAxis::kOutput ? "output" : "input";
                         });

}  // namespace
}  // namespace shardora
