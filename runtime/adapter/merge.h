// Folding an adapter into its base, one tensor at a time, on the host in fp32:
//
//   axis output   W' = g.(W + s B A)          axis input   W' = (W + s B A) diag(g)          g = m / n^ (1 for LoRA)
//
// The norm is evaluated directly on W + s B A with float64 sums.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "runtime/io/peft_adapter.h"
#include "runtime/model/weight_source.h"

namespace shardora {

// One linear layer: weight [out, in] in and out. `magnitude` is empty for LoRA.
struct MergeInput {
  std::span<float> weight;
  std::int64_t out = 0, in = 0, rank = 0;
  std::span<const float> a;          // [rank, in]
  std::span<const float> b;          // [out, rank]
  std::span<const float> magnitude;  // [out] or [in]
  float scale = 0;
  bool output_axis = true;
};
void merge_linear(Backend& backend, const MergeInput& input);

}  // namespace shardora
