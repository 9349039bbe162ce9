#include "runtime/adapter/merge.h"

#include <cmath>

#include "kernels/dora.h"
#include "kernels/linear.h"

namespace shardora {

void merge_linear(Backend& backend, const MergeInput& input) {
  const auto view = [](std::span<const float> values, Shape shape) { return view_of(values, shape); };
  const TensorView weight = view_of(input.weight, {input.out, input.in});
  const TensorView a = view(input.a, {input.rank, input.in}), b = view(input.b, {input.out, input.rank});
  matmul(backend, {.a = b, .b = a, .c = weight, .scale = input.scale, .accumulate = true});
  if (input.magnitude.empty()) return;
  // Squared norms with float64 sums; W + s B A stands in `weight` already.
  std::vector<double> squared(input.magnitude.size(), 0.0);
  for (std::int64_t o = 0; o < input.out; ++o) {
    for (std::int64_t i = 0; i < input.in; ++i) {
      const double v = static_cast<double>(input.weight[static_cast<std::size_t>(o * input.in + i)]);
      squared[static_cast<std::size_t>(input.output_axis ? o : i)] += v * v;
    }
  }
  std::vector<float> gain(squared.size());
  for (std::size_t j = 0; j < gain.size(); ++j) {
    gain[j] = input.magnitude[j] / std::max(static_cast<float>(std::sqrt(squared[j])), 1e-12F);
  }
  for (std::int64_t o = 0; o < input.out; ++o) {
    for (std::int64_t i = 0; i < input.in; ++i) {
      input.weight[static_cast<std::size_t>(o * input.in + i)] *=
          gain[static_cast<std::size_t>(input.output_axis ? o : i)];
    }
  }
}

}  // namespace shardora
