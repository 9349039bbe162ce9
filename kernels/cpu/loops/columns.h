// The gain and the bias of a product's columns as a loop over them reads them.
#pragma once

#include <algorithm>

#include "kernels/check.h"
#include "kernels/cpu/scratch.h"
#include "kernels/gain.h"
#include "kernels/inline.h"

namespace shardora::cpu {
namespace {  // each file its own copy: this folder may be compiled for several instruction sets in one program

struct Columns {
  const float* gain;
  const float* bias;
  SHARDORA_INLINE float output(float u, std::int64_t j) const { return gain[j] * u + bias[j]; }
  SHARDORA_INLINE float gradient(float dy, std::int64_t j) const { return gain[j] * dy; }
};

// Neither gain nor bias.
struct PlainColumns {
  SHARDORA_INLINE float output(float u, std::int64_t) const { return u; }
  SHARDORA_INLINE float gradient(float dy, std::int64_t) const { return dy; }
};

SHARDORA_INLINE bool plain(const LinearProduct& product) { return !product.gain && !product.bias; }

// Ones for an absent gain and zeros for an absent bias, so that loops have no branches. Valid until the next of them.
class ColumnsOf {
 public:
  ColumnsOf(Scratch& neutral, std::int64_t width) : width_(width), ones_(neutral.floats(2 * width)) {
    std::fill_n(ones_, width, 1.0F);
    std::fill_n(ones_ + width, width, 0.0F);
  }
  Columns operator()(const LinearProduct& product) const {
    SHARDORA_CHECK(!product.gain || product.gain.elements() == width_);
    SHARDORA_CHECK(!product.bias || product.bias.elements() == width_);
    return {product.gain ? product.gain.as<float>() : ones_, product.bias ? product.bias.as<float>() : ones_ + width_};
  }

 private:
  std::int64_t width_;
  float* ones_;
};

}  // namespace
}  // namespace shardora::cpu
