// Products by oneDNN with a weight that is kept in the layout oneDNN prefers. Only onednn.cc knows which
// of the interfaces 2.x and 3.x is installed.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
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
  explicit WeightLayout(const dnnl::memory::desc& desc) : desc_(desc) {}

  const dnnl::memory::desc& desc() const { return desc_; }
  bool blocked() const;
  std::int64_t bytes() const { return static_cast<std::int64_t>(desc_.get_size()); }  // padding included
  ElementOffsets offsets() const;

 private:
  dnnl::memory::desc desc_;
};

// The primitives of one backend's products, shared by all weights of one layout: a primitive does not own what it
// multiplies. A shape's first sight makes one and may grow the scratch memory that all of them use in turn; after that
// a product takes no memory of ours. Not for several threads at once.
class GemmCache {
 public:
  static constexpr std::size_t kMost = 512;  // a model has about ten layouts, training about ten token counts

  GemmCache();
  std::size_t size() const { return primitives_.size(); }

 private:
  friend class WeightGemm;
  struct Key {
    std::size_t layout;
    std::int64_t m;
    bool accumulate;
    auto operator<=>(const Key&) const = default;
  };
  struct Primitive {
    dnnl::matmul matmul;
    dnnl::memory x, weights, y, scratch;  // views, pointed anew for each product
    std::uint64_t last_use = 0;
  };
  struct Shape {
    WeightLayout layout;
    std::int64_t k, n;
  };
  std::size_t index_of(const Shape& shape);
  Primitive& primitive(const Key& key);
  Primitive make_primitive(const Key& key);
  void make_room();

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<Shape> shapes_;
  std::map<Key, Primitive> primitives_;
  std::vector<std::byte> scratch_;
  std::uint64_t uses_ = 0;
};

// y[m,n] (=|+=) x[m,k] * w[k,n] with m, n, k >= 1.
class WeightGemm {
 public:
  // Neither the cache nor the weights are owned.
  WeightGemm(GemmCache& cache, const WeightLayout& layout, std::int64_t k, std::int64_t n, float* weights);
  void run(std::int64_t m, const float* x, float* y, bool accumulate) const;

 private:
  GemmCache* cache_;
  std::size_t layout_;
  float* weights_;
};

}  // namespace shardora::cpu
