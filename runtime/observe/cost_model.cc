#include "runtime/observe/cost_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace shardora {
namespace {

constexpr double kFp32 = 4;  // bytes

bool trains(const ModelSizes& sizes, std::int64_t layer) { return layer >= sizes.lowest_trained_layer; }

// Of so many of attention's products, in one layer over one sequence.
double attention_flops(const ModelSizes& sizes, std::size_t layer, double products, double length) {
  const auto window = static_cast<double>(sizes.windows[layer]);
  const double pairs =
      window > 0 && window < length ? window * (length - window / 2) : length * length / 2;  // of a query and a key
  return 2 * products * static_cast<double>(sizes.heads * sizes.head_dim) * pairs;
}

std::int64_t at_least_one(double value) { return std::max<std::int64_t>(1, std::llround(value)); }

LinearCost linear_cost(const ModelSizes& sizes, const StepSettings& settings, const LinearSizes& linear,
                       const StepLoad& load, std::int64_t rows) {
  const bool again = settings.recompute == Recompute::kFull, backward = trains(sizes, linear.layer);
  const double elements = static_cast<double>(linear.out_features) * static_cast<double>(linear.in_features);
  const auto rank = static_cast<double>(linear.adapter_rank);
  return {.shape = {rows, linear.out_features, linear.in_features},
          .forward_flops = 2 * elements * load.tokens * (again && backward ? 2 : 1),
          .backward_flops = backward ? 2 * elements * load.tokens * (sizes.full ? 2 : 1) : 0,
          .adapter_rank = linear.adapter_rank,
          .adapter_flops =
              (again ? 8 : 6) * rank * static_cast<double>(linear.out_features + linear.in_features) * load.tokens,
          .norm_flops = settings.magnitudes ? 2 * rank * elements : 0};
}

// Of all layers, a token. Forward: both norms 4 h, both residuals with their gains 6 h, rotation and gains of q, k and
// v, SwiGLU. Backward: norms 8 h with their sums, gains 6 h, the others likewise.
double elementwise_bytes(const ModelSizes& sizes, const StepSettings& settings) {
  const auto hidden = static_cast<double>(sizes.hidden), inner = static_cast<double>(sizes.intermediate);
  const auto heads = static_cast<double>((sizes.heads + 2 * sizes.kv_heads) * sizes.head_dim);
  const double forward = 10 * hidden + 2 * heads + 3 * inner, backward = 14 * hidden + 3 * heads + 5 * inner;
  const double again = settings.recompute == Recompute::kFull        ? forward
                       : settings.recompute == Recompute::kSelective ? 4 * hidden + 3 * inner
                                                                     : 0;
  return (forward + backward + again) * static_cast<double>(settings.element_bytes) *
         static_cast<double>(sizes.windows.size());
}

void add_attention(const ModelSizes& sizes, const StepSettings& settings, const StepLoad& load, StepCost& cost) {
  double total = 0, squares = 0;
  for (const std::int64_t tokens : load.lengths) {
    const auto length = static_cast<double>(tokens);
    total += length, squares += length * length;
    for (std::size_t layer = 0; layer < sizes.windows.size(); ++layer) {
      const bool backward = trains(sizes, static_cast<std::int64_t>(layer));
      const double again = backward && settings.recompute == Recompute::kFull ? 2 : 1;
      cost.attention_forward_flops += attention_flops(sizes, layer, 2 * again, length) / load.steps;
      cost.attention_backward_flops += backward ? attention_flops(sizes, layer, 5, length) / load.steps : 0;
    }
  }
  cost.attention = {.heads = sizes.heads,
                    .kv_heads = sizes.kv_heads,
                    .head_dim = sizes.head_dim,
                    .length = total > 0 ? at_least_one(squares / total) : 1};
  cost.attention.sequences = std::max<std::int64_t>(1, cost.rows / cost.attention.length);
}

}  // namespace

ModelSizes sizes_of(const ModelConfig& c) {
  ModelSizes sizes{.hidden = c.hidden_size,
                   .intermediate = c.intermediate_size,
                   .heads = c.num_attention_heads,
                   .kv_heads = c.num_key_value_heads,
                   .head_dim = c.head_dim,
                   .vocabulary = c.vocab_size,
                   .windows = c.sliding_windows};
  sizes.windows.resize(static_cast<std::size_t>(c.num_hidden_layers));
  const std::int64_t query = c.num_attention_heads * c.head_dim, key = c.num_key_value_heads * c.head_dim;
  for (std::int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    for (const std::int64_t out : {query, key, key}) sizes.linears.push_back({layer, out, c.hidden_size});
    sizes.linears.push_back({layer, c.hidden_size, query});
    for (int i = 0; i < 2; ++i) sizes.linears.push_back({layer, c.intermediate_size, c.hidden_size});  // gate, up
    sizes.linears.push_back({layer, c.hidden_size, c.intermediate_size});
  }
  return sizes;
}

ModelFlops::ModelFlops(ModelSizes sizes) : sizes_(std::move(sizes)) {
  const StepCost token = step_cost(sizes_, {}, {.micro_batches = 1, .tokens = 1, .targets = 1});
  for (const LinearCost& linear : token.linears) {
    per_token_ += linear.forward_flops + linear.backward_flops + linear.adapter_flops;
  }
  per_target_ = token.head.forward_flops + token.head.backward_flops;
}

double ModelFlops::of_sequence(std::int64_t tokens) const {
  double attention = 0;
  for (std::size_t layer = 0; layer < sizes_.windows.size(); ++layer) {
    const double products = trains(sizes_, static_cast<std::int64_t>(layer)) ? 7 : 2;
    attention += attention_flops(sizes_, layer, products, static_cast<double>(tokens));
  }
  return per_token_ * static_cast<double>(tokens) + attention;
}

StepCost step_cost(const ModelSizes& sizes, const StepSettings& settings, const StepLoad& load) {
  const double micro_batches = std::max(1.0, load.micro_batches);
  StepCost cost{.elementwise_bytes = load.tokens * elementwise_bytes(sizes, settings),
                .rows = at_least_one(load.tokens / micro_batches),
                .hidden = sizes.hidden,
                .intermediate = sizes.intermediate,
                .loss_bytes = 4 * kFp32 * load.targets * static_cast<double>(sizes.vocabulary),
                // Values, gradients and both moments: zeroed, summed, measured and updated.
                .optimizer_bytes = 10 * kFp32 * static_cast<double>(settings.trained_elements)};
  for (const LinearSizes& linear : sizes.linears) {
    cost.linears.push_back(linear_cost(sizes, settings, linear, load, cost.rows));
  }
  const double targets = std::max(1.0, load.targets / micro_batches);  // of a micro-batch
  const double head = 2 * load.targets * static_cast<double>(sizes.vocabulary) * static_cast<double>(sizes.hidden);
  cost.head = {
      .shape = {std::min(settings.head_rows, static_cast<std::int64_t>(targets)), sizes.vocabulary, sizes.hidden},
      .forward_flops = head,
      .backward_flops = sizes.full ? 2 * head : head};
  add_attention(sizes, settings, load, cost);
  return cost;
}

}  // namespace shardora
