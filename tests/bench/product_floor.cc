#include "tests/bench/product_floor.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/random.h"
#include "runtime/system/proc.h"

namespace shardora::bench {
namespace {

constexpr double kLeastSeconds = 0.02;       // of one timing: small models' products are short
constexpr double kLeastSecondsOfGpu = 0.08;  // its clock follows the load

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

ProductFloor::ProductFloor(Backend& backend, Decoder& decoder, const Batch& batch, const FloorTypes& types)
    : backend_(backend), types_(types), layers_(decoder.config().num_hidden_layers), attention_width_(0) {
  const std::vector<DoraLinear*> linears = decoder.linears();
  const std::size_t in_a_layer = linears.size() / static_cast<std::size_t>(layers_);
  std::int64_t widest = 0;
  const auto add = [&](std::vector<Product>& to, std::int64_t out, std::int64_t in, std::int64_t count) {
    to.push_back(make(out, in, count));
    widest = std::max(widest, count * std::max(out, in));
  };
  for (std::size_t i = 0; i < in_a_layer; ++i) {
    add(layer_, linears[i]->out_features, linears[i]->in_features, batch.size());
    if (i == 0) attention_width_ = linears[i]->out_features;  // q
  }
  add(head_, decoder.vocabulary().size, decoder.config().hidden_size,
      std::min(decoder.chunk_rows(), std::ssize(batch.target_rows)));
  make_source(widest);
  result_ = DeviceBuffer(backend, widest * size_bytes(types.activations));
  if (backend.kind() == BackendKind::kCpu) return;
  const std::int64_t head_dim = decoder.config().head_dim;
  attention_ =
      std::make_unique<AttentionFloor>(backend,
                                       AttentionFloor::Sizes{.heads = attention_width_ / head_dim,
                                                             .kv_heads = linears[1]->out_features / head_dim,  // k
                                                             .head_dim = head_dim,
                                                             .type = types.activations},
                                       batch);
}

// Random values: on some processors products of zeros are faster.
void ProductFloor::make_source(std::int64_t elements) {
  source_ = random_values(backend_, random_key(1, "floor"), elements, types_.activations);
}

ProductFloor::Product ProductFloor::make(std::int64_t out, std::int64_t in, std::int64_t rows) {
  const auto draw = [&](std::int64_t first, TensorView values) {
    fill_normal(backend_, {.key = random_key(2, "floor"),
                           .out = values,
                           .first_row = first,
                           .logical_columns = in,
                           .low = 0,
                           .high = 0.02F});
  };
  const FrozenMatrixPlan plan{
      .out_features = out, .in_features = in, .typical_tokens = rows, .storage = types_.weights};
  return {make_frozen_matrix(backend_, plan, MatrixRows{.on_device = true, .read = draw}), rows};
}

// Always from the same values: fed with their own results, products of small weights would fall to denormal numbers.
void ProductFloor::run(const Product& product) {
  const Shape narrow{product.rows, product.weight->in_features()}, wide{product.rows, product.weight->out_features()};
  const DType type = types_.activations;
  product.weight->forward({source_.data(), type, narrow}, {result_.data(), type, wide}, false);
  product.weight->input_gradient({source_.data(), type, wide}, {result_.data(), type, narrow}, false);
}

// Seconds of one pass over this work.
double ProductFloor::timed(const std::function<void()>& work) {
  const double least = backend_.kind() == BackendKind::kCpu ? kLeastSeconds : kLeastSecondsOfGpu;
  int passes = 0;
  const double begin = monotonic_seconds();
  double passed = 0;
  do {
    work();
    backend_.synchronize();
    ++passes;
    passed = monotonic_seconds() - begin;
  } while (passed < least);
  return passed / passes;
}

double ProductFloor::timed(std::span<const Product> products) {
  return timed([&] {
    for (const Product& product : products) run(product);
  });
}

void ProductFloor::measure() {
  if (rounds_.empty()) {  // primitives are made by the first use
    for (const Product& product : layer_) run(product);
    for (const Product& product : head_) run(product);
    if (attention_) attention_->run();
  }
  rounds_.push_back({.layer = timed(layer_), .head = timed(head_)});
  if (attention_) rounds_.back().attention = timed([&] { attention_->run(); });
}

std::vector<std::pair<std::string, double>> ProductFloor::parts() {
  std::vector<std::pair<std::string, double>> parts;
  const auto add = [&](const char* of, const Product& product) {
    parts.emplace_back(fmt::format("{}, [{},{}] x {} rows, forward and input gradient", of,
                                   product.weight->out_features(), product.weight->in_features(), product.rows),
                       timed({&product, 1}));
  };
  for (const Product& product : layer_) add("a layer's product", product);
  add("a chunk of the head", head_[0]);
  if (!attention_) return parts;
  parts.emplace_back("a layer's attention, forward", timed([&] { attention_->forward(); }));
  parts.emplace_back("a layer's attention, backward", timed([&] { attention_->backward(); }));
  return parts;
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
  if (attention_) {
    return products +
           static_cast<double>(layers_) * round.attention * load.squared_lengths / attention_->squared_lengths();
  }
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
