#include "tests/bench/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "kernels/random.h"
#include "runtime/session/model_spec.h"
#include "runtime/system/proc.h"

namespace shardora::bench {
namespace {

constexpr double kLeastSeconds = 0.02;       // of one timing: small models' products are short
constexpr double kLeastSecondsOfGpu = 0.08;  // its clock follows the load

double squares(const std::vector<std::int64_t>& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), 0.0, [](double sum, std::int64_t length) {
    return sum + static_cast<double>(length) * static_cast<double>(length);
  });
}

double products_flops(const StepCost& cost) {
  return std::accumulate(
      cost.linears.begin(), cost.linears.end(), cost.head.forward_flops + cost.head.backward_flops,
      [](double sum, const LinearCost& linear) { return sum + linear.forward_flops + linear.backward_flops; });
}

}  // namespace

double median(std::vector<double> values) {
  SHARDORA_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

Roofline::Roofline(Backend& backend, Decoder& decoder, const Batch& batch, const RooflineTypes& types)
    : backend_(backend), types_(types), sizes_(shard_sizes(decoder, nullptr)), operands_(backend) {
  std::int64_t widest = 0;
  const auto add = [&](std::vector<Product>& to, std::int64_t out, std::int64_t in, std::int64_t count) {
    to.push_back(make(out, in, count));
    widest = std::max(widest, count * std::max(out, in));
  };
  for (const LinearSizes& linear : sizes_.linears) {
    if (linear.layer == 0) add(layer_, linear.out_features, linear.in_features, batch.size());
  }
  add(head_, sizes_.vocabulary, sizes_.hidden, std::min(decoder.chunk_rows(), std::ssize(batch.target_rows)));
  // Random values: on some processors products of zeros are faster.
  source_ = operands_.take({widest}, types.activations), result_ = operands_.take({widest}, types.activations);
  if (backend.kind() == BackendKind::kCpu) return;
  squared_lengths_ = squares(lengths_of(batch));
  attention_ = operands_.attention({.heads = sizes_.heads, .kv_heads = sizes_.kv_heads, .head_dim = sizes_.head_dim},
                                   {batch.offsets.begin(), batch.offsets.end()}, types.activations);
}

std::vector<std::int64_t> lengths_of(const Batch& batch) {
  std::vector<std::int64_t> lengths;
  for (std::size_t k = 0; k + 1 < batch.offsets.size(); ++k) {
    lengths.push_back(batch.offsets[k + 1] - batch.offsets[k]);
  }
  return lengths;
}

Roofline::Product Roofline::make(std::int64_t out, std::int64_t in, std::int64_t rows) {
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
void Roofline::run(const Product& product) {
  const Shape narrow{product.rows, product.weight->in_features()}, wide{product.rows, product.weight->out_features()};
  const DType type = types_.activations;
  product.weight->forward({source_.data, type, narrow}, {result_.data, type, wide}, false);
  product.weight->input_gradient({source_.data, type, wide}, {result_.data, type, narrow}, false);
}

// Seconds of one pass over this work.
double Roofline::timed(const std::function<void()>& work) {
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

void Roofline::run_attention() {
  attention_forward(backend_, attention_->forward);
  attention_backward(backend_, *attention_);
}

double Roofline::timed(std::span<const Product> products) {
  return timed([&] {
    for (const Product& product : products) run(product);
  });
}

void Roofline::measure() {
  if (rounds_.empty()) {  // primitives are made by the first use
    for (const Product& product : layer_) run(product);
    for (const Product& product : head_) run(product);
    if (attention_) run_attention();
  }
  rounds_.push_back({.layer = timed(layer_), .head = timed(head_)});
  if (attention_) rounds_.back().attention = timed([&] { run_attention(); });
}

std::vector<std::pair<std::string, double>> Roofline::parts() {
  std::vector<std::pair<std::string, double>> parts;
  const auto add = [&](const char* of, const Product& product) {
    parts.emplace_back(fmt::format("{}, [{},{}] x {} rows, forward and input gradient", of,
                                   product.weight->out_features(), product.weight->in_features(), product.rows),
                       timed({&product, 1}));
  };
  for (const Product& product : layer_) add("a layer's product", product);
  add("a chunk of the head", head_[0]);
  if (!attention_) return parts;
  parts.emplace_back("a layer's attention, forward", timed([&] { attention_forward(backend_, attention_->forward); }));
  parts.emplace_back("a layer's attention, backward", timed([&] { attention_backward(backend_, *attention_); }));
  return parts;
}

double Roofline::flops(const StepLoad& load) const {
  const StepCost cost = step_cost(sizes_, {}, load);
  return products_flops(cost) + cost.attention_forward_flops + cost.attention_backward_flops;
}

double Roofline::seconds(const StepLoad& load, const Round& round) const {
  const auto layers = static_cast<double>(sizes_.windows.size());
  const double products = round.layer * layers * load.tokens / static_cast<double>(layer_[0].rows) +
                          round.head * load.targets / static_cast<double>(head_[0].rows);
  if (attention_) return products + layers * round.attention * squares(load.lengths) / squared_lengths_;
  return products * flops(load) / products_flops(step_cost(sizes_, {}, load));
}

std::vector<double> Roofline::rounds_of(const StepLoad& load) const {
  std::vector<double> all(rounds_.size());
  std::transform(rounds_.begin(), rounds_.end(), all.begin(), [&](const Round& round) { return seconds(load, round); });
  return all;
}

double Roofline::best_seconds(const StepLoad& load) const {
  const std::vector<double> all = rounds_of(load);
  return *std::min_element(all.begin(), all.end());
}

double Roofline::median_seconds(const StepLoad& load) const { return median(rounds_of(load)); }

double Roofline::best_gflops() const {
  const StepLoad one{.tokens = 1, .targets = 1};
  return flops(one) / best_seconds(one) * 1e-9;
}

}  // namespace shardora::bench
