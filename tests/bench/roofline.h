// The roofline of a training step: how long the products alone take that no implementation can do without, in the
// layouts that the frozen weights use, one after the other.
//
//   floor = layers * (forward + input gradient of a layer's products) + (the same of the head)
//           + attention: on the CPU its FLOPs at the speed of those products, on a GPU the backend's own operations
//
// FLOPs are the cost model's, of a model without adapters: every layer has its input gradient, the lowest one's q, k
// and v included, whose input gradient nobody needs.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/jobs/plan/measured_speeds.h"
#include "runtime/model/decoder.h"

namespace shardora::bench {

struct RooflineTypes {
  DType weights = DType::kF32, activations = DType::kF32;
};

class Roofline {
 public:
  // `batch`: a typical micro-batch. The head is measured in the chunks that the decoder works in.
  Roofline(Backend& backend, Decoder& decoder, const Batch& batch, const RooflineTypes& types);
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
  void run(const Product& product);
  void run_attention();
  double timed(const std::function<void()>& work);
  double timed(std::span<const Product> products);
  double seconds(const StepLoad& load, const Round& round) const;
  std::vector<double> rounds_of(const StepLoad& load) const;

  Backend& backend_;
  RooflineTypes types_;
  ModelSizes sizes_;  // of this rank
  std::vector<Product> layer_, head_;
  RandomOperands operands_;
  TensorView source_, result_;                  // of all products
  std::optional<AttentionBackward> attention_;  // none on the CPU
  double squared_lengths_ = 0;                  // of the sequences that it is measured on
  std::vector<Round> rounds_;
};

std::vector<std::int64_t> lengths_of(const Batch& batch);
double median(std::vector<double> values);

}  // namespace shardora::bench
