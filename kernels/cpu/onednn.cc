#include "kernels/cpu/onednn.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <span>
#include <utility>

#include "kernels/check.h"

namespace shardora::cpu {
namespace {

using dnnl::memory;

constexpr std::size_t kAlignment = 64;  // of scratch memory, as oneDNN asks

memory::desc row_major(std::int64_t rows, std::int64_t columns) {
  return {{rows, columns}, memory::data_type::f32, memory::dims{columns, 1}};
}

// The strides of the outer blocks, and the inner blocks from the outermost to the innermost.
struct Blocking {
  memory::dims strides, inner_blocks, inner_axes;
};

#if DNNL_VERSION_MAJOR >= 3

bool is_blocked_kind(const memory::desc& desc) { return desc.get_format_kind() == memory::format_kind::blocked; }

Blocking blocking_of(const memory::desc& desc) {
  return {desc.get_strides(), desc.get_inner_blks(), desc.get_inner_idxs()};
}

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& x, const memory::desc& w,
                                      const memory::desc& y, const dnnl::primitive_attr& attributes) {
  return {engine, x, w, y, attributes};
}

#else

bool is_blocked_kind(const memory::desc& desc) { return desc.data.format_kind == dnnl_blocked; }

Blocking blocking_of(const memory::desc& desc) {
  const dnnl_blocking_desc_t& blocking = desc.data.format_desc.blocking;
  const auto first = [](const dnnl_dims_t& values, int count) { return memory::dims(values, values + count); };
  return {first(blocking.strides, desc.data.ndims), first(blocking.inner_blks, blocking.inner_nblks),
          first(blocking.inner_idxs, blocking.inner_nblks)};
}

dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& x, const memory::desc& w,
                                      const memory::desc& y, const dnnl::primitive_attr& attributes) {
  return {dnnl::matmul::desc(x, w, y), attributes, engine};
}

#endif

// What index i along `axis` adds to an offset: the inner blocks take the low digits of i, the outer stride the rest.
std::int64_t offset_along(const Blocking& blocking, int axis, std::int64_t i) {
  std::int64_t offset = 0;
  std::int64_t stride = 1;  // of the current inner block
  for (std::size_t block = blocking.inner_blocks.size(); block-- > 0;) {
    const std::int64_t size = blocking.inner_blocks[block];
    if (blocking.inner_axes[block] == axis) {
      offset += i % size * stride;
      i /= size;
    }
    stride *= size;
  }
  return offset + i * blocking.strides[static_cast<std::size_t>(axis)];
}

std::vector<std::int64_t> offsets_along(const Blocking& blocking, int axis, std::int64_t count) {
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) offsets[static_cast<std::size_t>(i)] = offset_along(blocking, axis, i);
  return offsets;
}

dnnl::engine cpu_engine() { return dnnl::engine(dnnl::engine::kind::cpu, 0); }

}  // namespace

std::string onednn_version() {
  const dnnl_version_t* const version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

WeightLayout WeightLayout::strided(std::int64_t k, std::int64_t n, std::int64_t k_stride, std::int64_t n_stride) {
  return WeightLayout(memory::desc({k, n}, memory::data_type::f32, memory::dims{k_stride, n_stride}));
}

WeightLayout WeightLayout::preferred(std::int64_t tokens, std::int64_t k, std::int64_t n) {
  const memory::desc any({k, n}, memory::data_type::f32, memory::format_tag::any);
  const auto description = describe(cpu_engine(), row_major(tokens, k), any, row_major(tokens, n), {});
  const memory::desc chosen = description.weights_desc();
  return is_blocked_kind(chosen) ? WeightLayout(chosen) : strided(k, n, n, 1);
}

bool WeightLayout::blocked() const { return !blocking_of(desc_).inner_blocks.empty(); }

ElementOffsets WeightLayout::offsets() const {
  const Blocking blocking = blocking_of(desc_);
#if DNNL_VERSION_MAJOR >= 3
  const memory::dims sizes = desc_.get_dims();
#else
  const memory::dims sizes = desc_.dims();
#endif
  return {offsets_along(blocking, 0, sizes[0]), offsets_along(blocking, 1, sizes[1])};
}

GemmCache::GemmCache() : engine_(cpu_engine()), stream_(engine_) {}

std::size_t GemmCache::index_of(const Shape& shape) {
  for (std::size_t i = 0; i < shapes_.size(); ++i) {
    const Shape& known = shapes_[i];
    if (known.k == shape.k && known.n == shape.n && known.layout.desc() == shape.layout.desc()) return i;
  }
  shapes_.push_back(shape);
  return shapes_.size() - 1;
}

GemmCache::Primitive& GemmCache::primitive(const Key& key) {
  auto found = primitives_.find(key);
  if (found == primitives_.end()) {
    if (primitives_.size() == kMost) make_room();
    found = primitives_.emplace(key, make_primitive(key)).first;
  }
  found->second.last_use = ++uses_;
  return found->second;
}

void GemmCache::make_room() {
  primitives_.erase(std::min_element(primitives_.begin(), primitives_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  }));
}

GemmCache::Primitive GemmCache::make_primitive(const Key& key) {
  const Shape& shape = shapes_[key.layout];
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.accumulate) {
    dnnl::post_ops after;
    after.append_sum(1.0F);
    attributes.set_post_ops(after);
  }
  const memory::desc x = row_major(key.m, shape.k);
  const memory::desc y = row_major(key.m, shape.n);
  const auto description = describe(engine_, x, shape.layout.desc(), y, attributes);
  const memory::desc scratch = description.scratchpad_desc();
  scratch_.resize(std::max(scratch_.size(), scratch.get_size() + kAlignment));
  return {.matmul = dnnl::matmul(description),
          .x = memory(x, engine_, nullptr),
          .weights = memory(shape.layout.desc(), engine_, nullptr),
          .y = memory(y, engine_, nullptr),
          .scratch = memory(scratch, engine_, nullptr)};
}

WeightGemm::WeightGemm(GemmCache& cache, const WeightLayout& layout, std::int64_t k, std::int64_t n, float* weights)
    : cache_(&cache), layout_(cache.index_of({layout, k, n})), weights_(weights) {}

void WeightGemm::run(std::int64_t m, const float* x, float* y, bool accumulate) const {
  GemmCache::Primitive& made = cache_->primitive({layout_, m, accumulate});
  std::size_t room = cache_->scratch_.size();
  void* scratch = cache_->scratch_.data();
  std::align(kAlignment, 0, scratch, room);
  made.x.set_data_handle(const_cast<float*>(x));  // oneDNN's handles are not const; it only reads this one
  made.weights.set_data_handle(weights_);
  made.y.set_data_handle(y);
  made.scratch.set_data_handle(scratch);
  // The C interface: dnnl.hpp's would build two maps of the arguments for each product.
  const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, made.x.get()},
                                       {DNNL_ARG_WEIGHTS, made.weights.get()},
                                       {DNNL_ARG_DST, made.y.get()},
                                       {DNNL_ARG_SCRATCHPAD, made.scratch.get()}};
  const auto count = static_cast<int>(std::size(arguments));
  SHARDORA_CHECK(dnnl_primitive_execute(made.matmul.get(), cache_->stream_.get(), count, arguments) == dnnl_success);
  cache_->stream_.wait();
}

}  // namespace shardora::cpu
