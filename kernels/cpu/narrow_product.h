// Products with one short side: an adapter's rank beside thousands of tokens, or a small model's weights. oneDNN gives
// them a third of the machine (one thread, or half-empty vectors) and allocates for each; these loops allocate nothing.
#pragma once

#include <cstdint>

#include "kernels/linear.h"

namespace shardora::cpu {

constexpr std::int64_t kNarrow = 64;  // longest short side

// Whether narrow_product() takes these shapes: a short side, and for a transposed `a` no transposed `b`.
bool is_narrow(const MatMul& op);
void narrow_product(const MatMul& op);  // the contract of matmul; m, n, k >= 1

// A matrix b [k,n] in panels of 16 columns, [ceil(n / 16)][k][16], zeros in the last one's empty columns.
constexpr std::int64_t kPanelColumns = 16;
inline std::int64_t panel_floats(std::int64_t k, std::int64_t n) {
  return (n + kPanelColumns - 1) / kPanelColumns * kPanelColumns * k;
}
// y[m,n] (=|+=) x[m,k] * b.
struct PanelProduct {
  const float* x;
  const float* panels;
  float* y;
  std::int64_t m, n, k;
  bool accumulate = false;
};
void panel_product(const PanelProduct& op);

}  // namespace shardora::cpu
