// oneDNN behind one door: products with a weight that stays in the layout oneDNN likes best. Only onednn.cc knows which
// of the interfaces 2.x and 3.x is installed.
#pragma once

#include <cstdint>
#include <deque>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

namespace shardora::cpu {

std::string onednn_version();

// Element (i, j) of a matrix stands at rows[i] + columns[j]. Plain, transposed and blocked layouts are all of this
// kind.
struct ElementOffsets {
  std::vector<std::int64_t> rows, columns;
  bool operator==(const ElementOffsets&) const = default;
};

// How w [k,n] lies in memory; fp32.
class WeightLayout {
 public:
  // What oneDNN would choose for products of `tokens` rows. Plain where oneDNN has no blocks of its own.
  static WeightLayout preferred(std::int64_t tokens, std::int64_t k, std::int64_t n);
  static WeightLayout strided(std::int64_t k, std::int64_t n, std::int64_t k_stride, std::int64_t n_stride);
  explicit WeightLayout(dnnl::memory::desc desc) : desc_(std::move(desc)) {}

  const dnnl::memory::desc& desc() const { return desc_; }
  bool blocked() const;
  std::int64_t bytes() const { return static_cast<std::int64_t>(desc_.get_size()); }  // padding included
  ElementOffsets offsets() const;

 private:
  dnnl::memory::desc desc_;
};

// y[m,n] (=|+=) x[m,k] * w[k,n] with m, n, k >= 1. Primitives are kept for the latest token counts.
class WeightProduct {
 public:
  WeightProduct(WeightLayout layout, std::int64_t k, std::int64_t n, float* weights);  // weights: not owned
  void run(std::int64_t m, const float* x, float* y, bool accumulate);
  std::size_t cached() const { return primitives_.size(); }

 private:
  struct Primitive {
    std::int64_t m;
    bool accumulate;
    dnnl::matmul matmul;
    dnnl::memory x, y;
  };
  Primitive& primitive(std::int64_t m, bool accumulate);
  Primitive make_primitive(std::int64_t m, bool accumulate) const;

  WeightLayout layout_;
  std::int64_t k_, n_;
  dnnl::engine engine_;
  dnnl::stream stream_;
  dnnl::memory weights_;
  std::deque<Primitive> primitives_;  // oldest first
};

}  // namespace shardora::cpu
