// The matrix-product floor of a training step: how long the products alone take that no implementation can do without,
// in the layouts that the frozen weights use, one after the other.
//
//   floor = layers * (forward + input gradient of a layer's products) + (the same of the head)
//           + attention: on the CPU its FLOPs at the speed of those products, on a GPU the backend's own operations
//
// Counted as the design pages do: 4 FLOPs a weight and token (the lowest layer's q, k and v included, whose input
// gradient nobody needs), 2 + 5 products of length^2 / 2 for causal attention (the backward pass makes the scores
// again).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/weight_matrix.h"
#include "runtime/jobs/plan/attention_floor.h"
#include "runtime/model/decoder.h"

namespace shardora::bench {

// What a rank has to do in one step.
struct StepLoad {
  double tokens = 0, target_rows = 0;
  double squared_lengths = 0;  // sum over sequences
};

struct FloorTypes {
  DType weights = DType::kF32, activations = DType::kF32;
};

class ProductFloor {
 public:
  // `batch`: a typical micro-batch. The head is measured in the chunks that the decoder works in.
  ProductFloor(Backend& backend, Decoder& decoder, const Batch& batch, const FloorTypes& types);
  // One more round; interleaved with what it is compared to.
  void measure();

  double flops(const StepLoad& load) const;         // model FLOPs: products and attention, no adapters
  double best_seconds(const StepLoad& load) const;  // by the fastest round
  double median_seconds(const StepLoad& load) const;
  double best_gflops() const;  // speed of the products in the fastest round

  // What a micro-batch's parts take alone, now: "forward and input gradient of [out,in]", attention both ways.
  std::vector<std::pair<std::string, double>> parts();

 private:
  struct Product {
    std::unique_ptr<WeightMatrix> weight;
    std::int64_t rows = 0;
  };
  struct Round {
    double layer = 0, head = 0, attention = 0;  // seconds for one layer, one chunk of the head, one layer
  };
  Product make(std::int64_t out, std::int64_t in, std::int64_t rows);
  void make_source(std::int64_t elements);
  void run(const Product& product);
  double timed(const std::function<void()>& work);
  double timed(std::span<const Product> products);
  double seconds(const StepLoad& load, const Round& round) const;
  std::vector<double> rounds_of(const StepLoad& load) const;

  Backend& backend_;
  FloorTypes types_;
  std::int64_t layers_, attention_width_;  // heads * head_dim of this rank
  std::vector<Product> layer_, head_;
  DeviceBuffer source_, result_;               // of all products
  std::unique_ptr<AttentionFloor> attention_;  // none on the CPU
  std::vector<Round> rounds_;
};

double median(std::vector<double> values);

}  // namespace shardora::bench
