#include "tests/bench/ops.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "kernels/linear.h"
#include "kernels/random.h"

namespace shardora::bench {
namespace {

constexpr std::int64_t kTokens[] = {256, 2048, 8192};
constexpr std::int64_t kHidden[] = {64, 288, 768, 2048, 4096};
constexpr std::int64_t kRanks[] = {4, 8, 64, 256};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds of the fastest of a few timings of at least ten milliseconds each.
double fastest(const std::function<void()>& call) {
  call();
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const double begin = now();
    int calls = 0;
    for (; calls == 0 || now() - begin < 0.01; ++calls) call();
    best = std::min(best, (now() - begin) / calls);
  }
  return best;
}

}  // namespace

double References::product(std::int64_t m, std::int64_t n, std::int64_t k) {
  double& speed = products_[{m, n, k}];
  if (speed > 0) return speed;
  Room room(backend_, *this);
  const TensorView a = room.floats({m, k}), b = room.floats({k, n}), bt = room.floats({n, k}), c = room.floats({m, n});
  const WeightMatrix& frozen = room.frozen(n, k, m);
  const double seconds = std::min({fastest([&] { frozen.forward(a, c, false); }),
                                   fastest([&] { matmul(backend_, {.a = a, .b = b, .c = c}); }),
                                   fastest([&] { matmul(backend_, {.a = a, .b = bt, .c = c, .transpose_b = true}); })});
  return speed = product_flops(m, n, k) / seconds;
}

double References::copy() {
  if (copy_ > 0) return copy_;
  Room room(backend_, *this);
  const TensorView from = room.floats({2048, 768}), to = room.floats({2048, 768});
  return copy_ = bytes_of({from, to}) / fastest([&] { backend_.copy(to, from); });
}

TensorView Room::take(DType dtype, Shape shape) {
  buffers_.emplace_back(backend, std::max<std::int64_t>(64, shape.elements() * size_bytes(dtype)));
  return {buffers_.back().data(), dtype, shape};
}

TensorView Room::floats(Shape shape) {
  const TensorView view = take(DType::kF32, shape);
  fill_normal(backend, {.key = random_key(buffers_.size(), "bench"),
                        .out = view.reshaped({1, view.elements()}),
                        .logical_columns = view.elements(),
                        .low = 0,
                        .high = 0.5F});
  return view;
}

TensorView Room::uniform(Shape shape, float low, float high) {
  const TensorView view = take(DType::kF32, shape);
  fill_uniform(backend, {.key = random_key(buffers_.size(), "bench"),
                         .out = view.reshaped({1, view.elements()}),
                         .logical_columns = view.elements(),
                         .low = low,
                         .high = high});
  return view;
}

TensorView Room::doubles(std::int64_t count) {
  const TensorView view = take(DType::kF64, {count});
  backend.zero(view);
  return view;
}

TensorView Room::places(std::int64_t count) {
  const TensorView view = take(DType::kI64, {count});
  backend.zero(view);
  return view;
}

TensorView Room::ints(std::int64_t count, std::int64_t below) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(random_below(random_key(3, "bench"), i, static_cast<std::uint64_t>(below)));
  }
  const TensorView view = take(DType::kI32, {count});
  backend.copy_from_host(view, view_of(std::span(values), {count}));
  backend.synchronize();
  return view;
}

TensorView Room::ascending(std::int64_t count, std::int64_t stride) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) * stride);
  }
  const TensorView view = take(DType::kI32, {count});
  backend.copy_from_host(view, view_of(std::span(values), {count}));
  backend.synchronize();
  return view;
}

WeightMatrix& Room::keep(std::unique_ptr<WeightMatrix> weight) { return *weights_.emplace_back(std::move(weight)); }

WeightMatrix& Room::frozen(std::int64_t out, std::int64_t in, std::int64_t tokens) {
  // Made from host memory, which on the CPU a buffer of the backend is.
  return keep(make_frozen_matrix(backend, {.out_features = out, .in_features = in, .typical_tokens = tokens},
                                 floats({out, in})));
}

void Registry::add_one(const std::string& name, const Sizes& sizes, const Prepare& prepare) {
  std::string full = fmt::format("{}/tokens:{}/hidden:{}", name, sizes.tokens, sizes.hidden);
  if (sizes.rank > 0) full += fmt::format("/rank:{}", sizes.rank);
  benchmark::RegisterBenchmark(full.c_str(),
                               [this, sizes, prepare](benchmark::State& state) {
                                 Room room(backend_, references_);
                                 const Measurement measurement = prepare(room, sizes);
                                 measurement.call();
                                 const double begin = now();
                                 for ([[maybe_unused]] auto _ : state) {
                                   measurement.call();
                                   backend_.synchronize();
                                 }
                                 const double seconds = (now() - begin) / static_cast<double>(state.iterations());
                                 const double speed = std::max(measurement.flops, measurement.bytes) / seconds;
                                 state.counters[measurement.flops > 0 ? "GFLOP/s" : "GB/s"] = speed * 1e-9;
                                 state.counters["share"] = speed / measurement.reference;
                               })
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void Registry::add(const std::string& name, const Prepare& prepare) {
  for (const std::int64_t tokens : kTokens) {
    for (const std::int64_t hidden : kHidden) add_one(name, {.tokens = tokens, .hidden = hidden}, prepare);
  }
}

void Registry::add_with_ranks(const std::string& name, const Prepare& prepare) {
  for (const std::int64_t tokens : kTokens) {
    for (const std::int64_t hidden : kHidden) {
      for (const std::int64_t rank : kRanks) add_one(name, {tokens, hidden, rank}, prepare);
    }
  }
}

}  // namespace shardora::bench
