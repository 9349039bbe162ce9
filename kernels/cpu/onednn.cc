#include "kernels/cpu/onednn.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

#include "kernels/check.h"

namespace shardora::cpu {
namespace {

using dnnl::memory;

constexpr std::size_t kCachedPrimitives = 16;  // training meets one or two token counts, evaluation a few more

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

WeightProduct::WeightProduct(WeightLayout layout, std::int64_t k, std::int64_t n, float* weights)
    : layout_(std::move(layout)),
      k_(k),
      n_(n),
      engine_(cpu_engine()),
      stream_(engine_),
      weights_(layout_.desc(), engine_, weights) {}

void WeightProduct::run(std::int64_t m, const float* x, float* y, bool accumulate) {
  Primitive& made = primitive(m, accumulate);
  made.x.set_data_handle(const_cast<float*>(x));  // oneDNN's handles are not const; it only reads this one
  made.y.set_data_handle(y);
  made.matmul.execute(stream_, {{DNNL_ARG_SRC, made.x}, {DNNL_ARG_WEIGHTS, weights_}, {DNNL_ARG_DST, made.y}});
  stream_.wait();
}

WeightProduct::Primitive& WeightProduct::primitive(std::int64_t m, bool accumulate) {
  const auto found = std::find_if(primitives_.begin(), primitives_.end(), [&](const Primitive& candidate) {
    return candidate.m == m && candidate.accumulate == accumulate;
  });
  if (found != primitives_.end()) return *found;
  if (primitives_.size() == kCachedPrimitives) primitives_.pop_front();
  return primitives_.emplace_back(make_primitive(m, accumulate));
}

WeightProduct::Primitive WeightProduct::make_primitive(std::int64_t m, bool accumulate) const {
  dnnl::primitive_attr attributes;
  if (accumulate) {
    dnnl::post_ops after;
    after.append_sum(1.0F);
    attributes.set_post_ops(after);
  }
  const memory::desc x = row_major(m, k_);
  const memory::desc y = row_major(m, n_);
  return {m, accumulate, dnnl::matmul(describe(engine_, x, layout_.desc(), y, attributes)), memory(x, engine_, nullptr),
          memory(y, engine_, nullptr)};
}

}  // namespace shardora::cpu
