// The fused attention of kernels/cuda/fused_library.h in plain loops, for the host emulation: it trusts nothing but
// what the graph's arguments say, and spoils its workspace as a library does.
#include "kernels/cuda/fused_library.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/emulation/devices.h"
#include "kernels/float_types.h"

namespace shardora::emulation {

std::int64_t& fused_runs() {
  static std::int64_t runs = 0;
  return runs;
}

}  // namespace shardora::emulation

namespace shardora::cuda {
namespace {

using Bits = std::uint16_t;  // of a bfloat16

class PlainGraph final : public FusedGraph {
 public:
  PlainGraph(const FusedShape& shape, int capability)
      : shape_(shape), workspace_bytes_(shape.backward ? fused_workspace_bytes(shape, capability) : 0) {
    SHARDORA_CHECK(shape.head_dim % 8 == 0 &&
                   !(shape.backward && !shape.padded_statistics && pads_statistics(capability)));
  }
  std::int64_t workspace_bytes() const override { return workspace_bytes_; }

  void run(const FusedArguments& a) override {
    ++emulation::fused_runs();
    if (workspace_bytes_ > 0) std::memset(a.workspace, 0xFF, static_cast<std::size_t>(workspace_bytes_));
    for (std::int64_t s = 0; s < shape_.batch; ++s) {
      SHARDORA_CHECK(a.lengths[s] >= 0 && a.lengths[s] <= shape_.longest);
      for (std::int64_t group = 0; group < shape_.kv_heads; ++group) {
        shape_.backward ? backward(a, s, group) : forward(a, s, group);
      }
    }
  }

 private:
  bool visible(std::int64_t i, std::int64_t j) const {
    if (shape_.mask.kind == MaskKind::kFull) return true;
    return j <= i && (shape_.mask.kind == MaskKind::kCausal || j + shape_.mask.window > i);
  }
  std::int64_t at_query(const FusedArguments& a, std::int64_t s, std::int64_t i, std::int64_t h) const {
    return a.query_starts[s] + (i * shape_.heads + h) * shape_.head_dim;
  }
  std::int64_t at_key(const FusedArguments& a, std::int64_t s, std::int64_t j, std::int64_t group) const {
    return a.key_starts[s] + (j * shape_.kv_heads + group) * shape_.head_dim;
  }
  float& lse(const FusedArguments& a, std::int64_t s, std::int64_t i, std::int64_t h) const {
    auto* const all = static_cast<float*>(a.lse);
    if (shape_.padded_statistics) return all[(s * shape_.heads + h) * shape_.longest + i];
    return all[a.lse_starts[s] + i * shape_.heads + h];
  }
  double product(const void* x, std::int64_t at, const void* y, std::int64_t from) const {
    double sum = 0;
    for (std::int64_t d = 0; d < shape_.head_dim; ++d) {
      sum += static_cast<double>(float_from_bf16(static_cast<const Bits*>(x)[at + d])) *
             static_cast<double>(float_from_bf16(static_cast<const Bits*>(y)[from + d]));
    }
    return sum;
  }
  void add(std::vector<double>& sums, std::int64_t row, double factor, const void* x, std::int64_t at) const {
    for (std::int64_t d = 0; d < shape_.head_dim; ++d) {
      sums[static_cast<std::size_t>(row * shape_.head_dim + d)] +=
          factor * static_cast<double>(float_from_bf16(static_cast<const Bits*>(x)[at + d]));
    }
  }
  void store(void* to, std::int64_t at, const std::vector<double>& sums, std::int64_t row) const {
    for (std::int64_t d = 0; d < shape_.head_dim; ++d) {
      static_cast<Bits*>(to)[at + d] =
          bf16_from_float(static_cast<float>(sums[static_cast<std::size_t>(row * shape_.head_dim + d)]));
    }
  }

  void forward(const FusedArguments& a, std::int64_t s, std::int64_t group) const {
    const std::int64_t share = shape_.heads / shape_.kv_heads, length = a.lengths[s];
    for (std::int64_t h = group * share; h < (group + 1) * share; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        double sum = 0;
        std::vector<double> o(static_cast<std::size_t>(shape_.head_dim));
        for (std::int64_t j = 0; j < length; ++j) {
          if (!visible(i, j)) continue;
          const double p =
              std::exp(static_cast<double>(a.scale) * product(a.q, at_query(a, s, i, h), a.k, at_key(a, s, j, group)));
          sum += p;
          add(o, 0, p, a.v, at_key(a, s, j, group));
        }
        for (double& value : o) value /= sum;
        store(a.o, at_query(a, s, i, h), o, 0);
        if (shape_.statistics) lse(a, s, i, h) = static_cast<float>(std::log(sum));
      }
    }
  }

  void backward(const FusedArguments& a, std::int64_t s, std::int64_t group) const {
    const std::int64_t share = shape_.heads / shape_.kv_heads, length = a.lengths[s];
    std::vector<double> dk(static_cast<std::size_t>(length * shape_.head_dim)), dv(dk.size());
    for (std::int64_t h = group * share; h < (group + 1) * share; ++h) {
      for (std::int64_t i = 0; i < length; ++i) {
        const std::int64_t query = at_query(a, s, i, h);
        const double delta = product(a.d_o, query, a.o, query), scale = static_cast<double>(a.scale);
        std::vector<double> dq(static_cast<std::size_t>(shape_.head_dim));
        for (std::int64_t j = 0; j < length; ++j) {
          if (!visible(i, j)) continue;
          const std::int64_t key = at_key(a, s, j, group);
          const double p = std::exp(scale * product(a.q, query, a.k, key) - static_cast<double>(lse(a, s, i, h)));
          const double ds = p * (product(a.d_o, query, a.v, key) - delta) * scale;
          add(dq, 0, ds, a.k, key);
          add(dk, j, ds, a.q, query);
          add(dv, j, p, a.d_o, query);
        }
        store(a.dq, query, dq, 0);
      }
    }
    for (std::int64_t j = 0; j < length; ++j) {
      store(a.dk, at_key(a, s, j, group), dk, j);
      store(a.dv, at_key(a, s, j, group), dv, j);
    }
  }

  FusedShape shape_;
  std::int64_t workspace_bytes_;
};

class PlainLibrary final : public FusedLibrary {
 public:
  explicit PlainLibrary(int capability) : capability_(capability) {}
  int version() const override { return 91900; }
  std::string description() const override { return "emulated cuDNN"; }
  std::unique_ptr<FusedGraph> make_graph(const FusedShape& shape) override {
    return std::make_unique<PlainGraph>(shape, capability_);
  }

 private:
  int capability_;
};

}  // namespace

std::unique_ptr<FusedLibrary> make_fused_library(cudaStream_t, const cudaDeviceProp& device, std::string& problem) {
  problem = emulation::machine().fused_problem;
  if (!problem.empty()) return nullptr;
  return std::make_unique<PlainLibrary>(device.major * 10 + device.minor);
}

}  // namespace shardora::cuda
