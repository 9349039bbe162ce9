// Folding an adapter into one layer of its base, a block of rows at a time, on the host in fp32:
//
//   axis output   W' = g.(W + s B A)          axis input   W' = (W + s B A) diag(g)          g = m / n^ (1 for LoRA)
//
// The norm is evaluated directly on W + s B A with float64 sums.
#pragma once

#include <vector>

#include "runtime/adapter/folded_modules.h"

namespace shardora {

class LayerMerge {
 public:
  // `module` must outlive it.
  LayerMerge(Backend& backend, const FoldedModule& module) : backend_(backend), module_(module) {}
  // Whether the norms need all rows before the first one can be folded.
  bool needs_measuring() const { return !module_.magnitude.empty() && !module_.output_axis; }
  // Adds the part of these rows of W, which become those of W + s B A, to the columns' squared norms.
  void measure(std::int64_t first, TensorView rows);
  // rows [count, in] of W, from row `first`, become those of W'.
  void fold(std::int64_t first, TensorView rows);

 private:
  Backend& backend_;
  const FoldedModule& module_;
  std::vector<double> squared_columns_;
  std::vector<float> column_gains_;
};

}  // namespace shardora
