#include "tests/bench/product_floor.h"

#include <algorithm>

#include "kernels/random.h"
#include "runtime/observe/metrics.h"

namespace shardora::bench {
namespace {

constexpr double kLeastSeconds = 0.02;  // of one timing: small models' products are short

double elements(const WeightMatrix& weight) {
  return static_cast<double>(weight.out_features()) * static_cast<double>(weight.in_features());
}

}  // namespace

double median(std::vector<double> values) {
  SHARDORA_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

ProductFloor::ProductFloor(Backend& backend, Decoder& decoder, std::int64_t tokens, std::int64_t rows)
    : backend_(backend), layers_(decoder.config().num_hidden_layers), attention_width_(0) {
  const std::vector<Linear*> linears = decoder.linears();
  const std::size_t in_a_layer = linears.size() / static_cast<std::size_t>(layers_);
  std::int64_t widest = 0;
  const auto add = [&](std::vector<Product>& to, std::int64_t out, std::int64_t in, std::int64_t count) {
    to.push_back(make(out, in, count));
    widest = std::max(widest, count * std::max(out, in));
  };
  for (std::size_t i = 0; i < in_a_layer; ++i) {
    add(layer_, linears[i]->out_features, linears[i]->in_features, tokens);
    if (i == 0) attention_width_ = linears[i]->out_features;  // q
  }
  add(head_, decoder.vocabulary().size, decoder.config().hidden_size, std::min(decoder.chunk_rows(), rows));
  source_ = DeviceBuffer(backend, widest * size_bytes(DType::kF32));
  result_ = DeviceBuffer(backend, widest * size_bytes(DType::kF32));
  fill_normal(backend, {.key = random_key(1, "floor"),
                        .out = {source_.data(), DType::kF32, {1, widest}},
                        .logical_columns = widest,
                        .low = 0,
                        .high = 1});
}

ProductFloor::Product ProductFloor::make(std::int64_t out, std::int64_t in, std::int64_t rows) {
  std::vector<float> values(static_cast<std::size_t>(out * in));
  const TensorView weight = view_of(std::span(values), {out, in});
  fill_normal(backend_, {.key = random_key(2, "floor"), .out = weight, .logical_columns = in, .low = 0, .high = 0.02F});
  return {make_frozen_matrix(backend_, {.out_features = out, .in_features = in, .typical_tokens = rows}, weight), rows};
}

// Always from the same values: fed with their own results, products of small weights would fall to denormal numbers.
void ProductFloor::run(const Product& product) {
  const Shape narrow{product.rows, product.weight->in_features()}, wide{product.rows, product.weight->out_features()};
  product.weight->forward({source_.data(), DType::kF32, narrow}, {result_.data(), DType::kF32, wide}, false);
  product.weight->input_gradient({source_.data(), DType::kF32, wide}, {result_.data(), DType::kF32, narrow}, false);
}

// Seconds of one pass over these products.
double ProductFloor::timed(std::span<const Product> products) {
  int passes = 0;
  const double begin = monotonic_seconds();
  double passed = 0;
  do {
    for (const Product& product : products) run(product);
    backend_.synchronize();
    ++passes;
    passed = monotonic_seconds() - begin;
  } while (passed < kLeastSeconds);
  return passed / passes;
}

void ProductFloor::measure() {
  if (rounds_.empty()) {  // primitives are made by the first use
    for (const Product& product : layer_) run(product);
    for (const Product& product : head_) run(product);
  }
  rounds_.push_back({.layer = timed(layer_), .head = timed(head_)});
}

double ProductFloor::flops(const StepLoad& load) const {
  double weights = 0;
  for (const Product& product : layer_) weights += elements(*product.weight);
  const auto layers = static_cast<double>(layers_);
  return 4 * (layers * weights * load.tokens + elements(*head_[0].weight) * load.target_rows) +
         7 * layers * load.squared_lengths * static_cast<double>(attention_width_);
}

double ProductFloor::seconds(const StepLoad& load, const Round& round) const {
  const double products =
      round.layer * static_cast<double>(layers_) * load.tokens / static_cast<double>(layer_[0].rows) +
      round.head * load.target_rows / static_cast<double>(head_[0].rows);
  StepLoad without_attention = load;
  without_attention.squared_lengths = 0;
  return products * flops(load) / flops(without_attention);
}

std::vector<double> ProductFloor::rounds_of(const StepLoad& load) const {
  std::vector<double> all(rounds_.size());
  std::transform(rounds_.begin(), rounds_.end(), all.begin(), [&](const Round& round) { return seconds(load, round); });
  return all;
}

double ProductFloor::best_seconds(const StepLoad& load) const {
  const std::vector<double> all = rounds_of(load);
  return *std::min_element(all.begin(), all.end());
}

double ProductFloor::median_seconds(const StepLoad& load) const { return median(rounds_of(load)); }

double ProductFloor::best_gflops() const {
  const StepLoad one{.tokens = 1, .target_rows = 1};
  return flops(one) / best_seconds(one) * 1e-9;
}

}  // namespace shardora::bench
