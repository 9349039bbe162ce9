// This folder is compiled once for each level, with SHARDORA_LEVEL set to the level's own namespace. Two rules keep
// code of one level out of the others:
//
//   - All that is ours stands in that namespace or in an unnamed one.
//   - Functions that others share (templates of the standard library, members of TensorView) are inlined at every use:
//     a copy of its own in an object file would be weak, and the linker takes any one of the weak copies for the whole
//     program, so AVX-512 code could be called at the level x86-64. So the files here include and use little: no
//     containers, no strings, no exceptions. tests/kernels/level_symbols.py reads the object files and finds what slips
//     through.
#pragma once

#include "kernels/cpu/loops.h"

namespace shardora::cpu::SHARDORA_LEVEL {

class LevelLoops final : public Loops {
 public:
  void narrow_gemm(const MatMul& op) override;
  void bf16_gemm(const Bf16Gemm& op) override;
#define SHARDORA_LOOP(name, Op) void name(const Op& op) override;
#include "kernels/operations.def"
};

Loops* new_loops();  // the caller owns it: a smart pointer's members would be shared code

}  // namespace shardora::cpu::SHARDORA_LEVEL
