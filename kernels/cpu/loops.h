// The operations that are loops of our own: one implementation for each instruction-set level, made from the same
// sources in loops/. What gains nothing from wider vectors (copies, products by oneDNN), or must be the same bits at
// every level (random fills, norms of gradients), stands in cpu.h.
#pragma once

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cpu/packed_gemm.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cross_entropy.h"
#include "kernels/dora.h"
#include "kernels/elementwise.h"
#include "kernels/gain.h"
#include "kernels/linear.h"
#include "kernels/random.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

namespace shardora::cpu {

class Loops {
 public:
  virtual ~Loops();
  Loops(const Loops&) = delete;
  Loops& operator=(const Loops&) = delete;

  // The contract of matmul; m, n, k >= 1; min(n, k) <= kNarrow, or for a transposed `a` min(m, n), and no transposed
  // `b`.
  virtual void narrow_gemm(const MatMul& op) = 0;
  virtual void bf16_gemm(const Bf16Gemm& op) = 0;

#define SHARDORA_LOOP(name, Op) virtual void name(const Op& op) = 0;
#include "kernels/operations.def"

 protected:
  Loops();
  Scratch scratch_;
  Scratch neutral_;  // rows of ones and zeros (loops/columns.h)
};

}  // namespace shardora::cpu
