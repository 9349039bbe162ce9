// What one rank computes and says in an optimizer step, as amounts by kind. How long that takes is a device's matter:
// speeds.h.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/jobs/plan/workload.h"

namespace shardora {

inline constexpr double kFp32 = 4;  // bytes

// A product of x [rows,in] with a weight [out,in]: forward with W^T, input gradient with W.
struct ProductShape {
  std::int64_t rows = 0, out = 0, in = 0;
  bool operator==(const ProductShape&) const = default;
};
struct ProductWork {
  ProductShape shape;                // of one micro-batch
  double forward = 0, backward = 0;  // so many times a step
  double flops() const {             // of one
    return 2.0 * static_cast<double>(shape.rows) * static_cast<double>(shape.out) * static_cast<double>(shape.in);
  }
};
// The six thin products of an adapter of rank r at an [out,in] weight.
struct AdapterWork {
  ProductShape shape;
  std::int64_t rank = 0;
  double flops = 0;  // a step
};
struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0, length = 0, sequences = 1;
  bool operator==(const AttentionShape&) const = default;
};

struct StepWork {
  std::vector<ProductWork> products;  // of the layers, each shape once
  ProductWork head;                   // of a chunk of rows
  std::vector<AdapterWork> adapters;
  AttentionShape attention;  // typical
  double attention_forward_flops = 0, attention_backward_flops = 0;
  double elementwise_bytes = 0;                         // that norms, rotations, gains, SwiGLU and sums read and write
  std::int64_t hidden = 0, intermediate = 0, rows = 0;  // what they work on
  double loss_bytes = 0, norm_flops = 0, optimizer_bytes = 0;
  double micro_batches = 0;
  Traffic tensor, tensor_gradients, data;  // sums over the tensor group, of gradients there, and over the data group
};

struct RunShape {
  const ModelConfig& config;
  const DryRun& dry_run;
  std::int64_t largest_micro_batch = 0;  // tokens, as dry-run
  Recompute recompute = Recompute::kNone;
  bool full = false, magnitudes = false;
  std::int64_t element_bytes = 4;  // of an activation
  int data_size = 1;
};
StepWork step_work(const RunShape& run, const RankWork& rank);

}  // namespace shardora
