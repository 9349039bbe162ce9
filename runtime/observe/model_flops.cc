#include "runtime/observe/model_flops.h"

namespace shardora {
namespace {

// q, k, v, o, gate, up, down.
double layer_elements(const ModelConfig& c) {
  const std::int64_t query = c.num_attention_heads * c.head_dim, key = c.num_key_value_heads * c.head_dim;
  return static_cast<double>(c.hidden_size * (2 * query + 2 * key + 3 * c.intermediate_size));
}

// Pairs of a query and a key that it sees.
double causal_pairs(double length, double window) {
  return window > 0 && window < length ? window * (length - window / 2) : length * length / 2;
}

}  // namespace

ModelFlops::ModelFlops(const ModelConfig& config, const Training& training)
    : attention_width_(static_cast<double>(config.num_attention_heads * config.head_dim)),
      windows_(config.sliding_windows),
      lowest_layer_(training.lowest_layer) {
  windows_.resize(static_cast<std::size_t>(config.num_hidden_layers));
  const double weight_gradient = training.full ? 2 : 0;
  const auto layers = static_cast<double>(config.num_hidden_layers);
  const double backward_layers = layers - static_cast<double>(training.lowest_layer);
  per_token_ = layer_elements(config) * (2 * layers + (2 + weight_gradient) * backward_layers) +
               6 * static_cast<double>(training.adapter_elements);
  per_target_ = static_cast<double>(config.vocab_size * config.hidden_size) * (4 + weight_gradient);
}

double ModelFlops::of_targets(std::int64_t targets) const { return per_target_ * static_cast<double>(targets); }

double ModelFlops::of_sequence(std::int64_t tokens) const {
  double attention = 0;
  for (std::size_t layer = 0; layer < windows_.size(); ++layer) {
    const double products = static_cast<std::int64_t>(layer) < lowest_layer_ ? 2 : 7;
    attention += 2 * products * attention_width_ *
                 causal_pairs(static_cast<double>(tokens), static_cast<double>(windows_[layer]));
  }
  return per_token_ * static_cast<double>(tokens) + attention;
}

}  // namespace shardora
