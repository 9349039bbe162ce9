// What bench_ops needs to measure one operation: tensors, the speed it is compared with, and counters.
//
// Names: operation/tokens:T/hidden:H[/rank:R]. GFLOP/s and `share` (of the best plain matrix product of that shape, or,
// where an operation is none, of a product of [tokens, hidden] with [hidden, hidden]) for what multiplies; GB/s over
// the bytes that its contract must read and write, and `share` of the backend's own copy, for what only moves.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/weight_matrix.h"

namespace shardora::bench {

struct Sizes {
  std::int64_t tokens = 0, hidden = 0, rank = 0;  // rank 0: the operation has none
  std::int64_t intermediate() const { return hidden * 8 / 3 / 4 * 4; }
  std::int64_t head_dim() const { return hidden < 256 ? 8 : hidden % 64 != 0 ? 48 : hidden < 4096 ? 64 : 128; }
  std::int64_t heads() const { return hidden / head_dim(); }
};

// Speeds to compare with, each measured once.
class References {
 public:
  explicit References(Backend& backend) : backend_(backend) {}
  // FLOP/s of c[m,n] = a[m,k] b[k,n] in the fastest of these layouts: b as a frozen weight, row-major, transposed.
  double product(std::int64_t m, std::int64_t n, std::int64_t k);
  double copy();  // bytes read and written a second

 private:
  Backend& backend_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, double> products_;
  double copy_ = 0;
};

// Buffers of one measurement.
class Room {
 public:
  Room(Backend& on, References& speeds) : backend(on), references(speeds) {}
  TensorView floats(Shape shape);                                 // normal, deviation 0.5
  TensorView uniform(Shape shape, float low, float high);         // for what must not be negative
  TensorView doubles(std::int64_t count);                         // zeros
  TensorView ints(std::int64_t count, std::int64_t below);        // any
  TensorView ascending(std::int64_t count, std::int64_t stride);  // 0, stride, 2 stride, …
  TensorView places(std::int64_t count);                          // int64 zeros
  WeightMatrix& frozen(std::int64_t out, std::int64_t in, std::int64_t tokens);
  WeightMatrix& keep(std::unique_ptr<WeightMatrix> weight);

  Backend& backend;
  References& references;

 private:
  TensorView take(DType dtype, Shape shape);
  std::vector<DeviceBuffer> buffers_;
  std::vector<std::unique_ptr<WeightMatrix>> weights_;
};

// What one call does. One of flops and bytes is set; `reference` in the same unit a second.
struct Measurement {
  std::function<void()> call;
  double flops = 0, bytes = 0;
  double reference = 0;
};
using Prepare = std::function<Measurement(Room&, const Sizes&)>;

class Registry {
 public:
  Registry(Backend& backend, References& references) : backend_(backend), references_(references) {}
  void add(const std::string& name, const Prepare& prepare);             // at all tokens and hidden sizes
  void add_with_ranks(const std::string& name, const Prepare& prepare);  // and ranks
 private:
  void add_one(const std::string& name, const Sizes& sizes, const Prepare& prepare);
  Backend& backend_;
  References& references_;
};

// Each file of operations registers its own.
void add_products(Registry& registry);
void add_attention(Registry& registry);
void add_activations(Registry& registry);
void add_adaptation(Registry& registry);

// Shorthands of the files above.
inline double product_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}
inline double bytes_of(std::initializer_list<TensorView> views) {
  double total = 0;
  for (const TensorView& view : views) total += static_cast<double>(view.bytes());
  return total;
}

}  // namespace shardora::bench
