// Attention as graphs of cuDNN's front end, the one file that includes it. Sequences are packed: every tensor is
// [batch, heads, longest, head_dim] in name, and ragged offsets say where each sequence begins in what is in truth
// [tokens, heads, head_dim]. cuDNN's statistics are log sum exp, natural, by (token, head): our lse.
#include <mutex>
#include <unordered_map>

#include "kernels/cuda/cuda_check.h"
#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/fused_library.h"

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the front end looks its functions up here
}

namespace shardora {

namespace fe = cudnn_frontend;

inline void require_ok(cudnnStatus_t status, const char* expression,
                       std::source_location at = std::source_location::current()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  fail(fmt::format("cuDNN: {}", fe::detail::get_error_string(status)), expression, at);
}
inline void require_ok(fe::error_t status, const char* expression,
                       std::source_location at = std::source_location::current()) {
  if (status.is_good()) return;
  fail(fmt::format("cuDNN's graph: {}", status.get_message()), expression, at);
}

namespace cuda {
namespace {

using Tensor = std::shared_ptr<fe::graph::Tensor_attributes>;

// The graph's names for FusedArguments.
enum Uid : std::int64_t {
  kQ = 1,
  kK,
  kV,
  kO,
  kLse,
  kDO,
  kDQ,
  kDK,
  kDV,
  kLengths,
  kQueryStarts,
  kKeyStarts,
  kLseStarts,
  kScale
};

class GraphBuilder {
 public:
  GraphBuilder(const FusedShape& shape, int capability) : shape_(shape) {
    graph_ = std::make_shared<fe::graph::Graph>();
    // Without it the front end would look for CUDA's runtime as a shared library, which need not be there.
    graph_->set_sm_version(capability);
    graph_->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    lengths_ = graph_->tensor(index(kLengths, shape.batch, fe::DataType_t::INT32));
    query_starts_ = starts(kQueryStarts);
    key_starts_ = starts(kKeyStarts);
    if (!shape.padded_statistics) lse_starts_ = starts(kLseStarts);
    scale_ = graph_->tensor(fe::graph::Tensor_attributes()
                                .set_uid(kScale)
                                .set_dim({1, 1, 1, 1})
                                .set_stride({1, 1, 1, 1})
                                .set_data_type(fe::DataType_t::FLOAT)
                                .set_is_pass_by_value(true));
  }

  std::shared_ptr<fe::graph::Graph> build() {
    shape_.backward ? backward() : forward();
    return graph_;
  }

 private:
  static fe::graph::Tensor_attributes index(Uid uid, std::int64_t count, fe::DataType_t type) {
    return fe::graph::Tensor_attributes()
        .set_uid(uid)
        .set_dim({count, 1, 1, 1})
        .set_stride({1, 1, 1, 1})
        .set_data_type(type);
  }
  Tensor starts(Uid uid) { return graph_->tensor(index(uid, shape_.batch + 1, fe::DataType_t::INT64)); }

  // [tokens, heads, width] in truth.
  fe::graph::Tensor_attributes& lay_out(fe::graph::Tensor_attributes& tensor, Uid uid, std::int64_t heads,
                                        std::int64_t width, const Tensor& where) const {
    return tensor.set_uid(uid)
        .set_dim({shape_.batch, heads, shape_.longest, width})
        .set_stride({shape_.longest * heads * width, width, heads * width, 1})
        .set_ragged_offset(where);
  }
  // Packed like the rest, or [batch, heads, longest].
  fe::graph::Tensor_attributes& lay_out_statistics(fe::graph::Tensor_attributes& tensor) const {
    if (!shape_.padded_statistics) lay_out(tensor, kLse, shape_.heads, 1, lse_starts_);
    if (shape_.padded_statistics) {
      tensor.set_uid(kLse)
          .set_dim({shape_.batch, shape_.heads, shape_.longest, 1})
          .set_stride({shape_.heads * shape_.longest, shape_.longest, 1, 1});
    }
    return tensor.set_data_type(fe::DataType_t::FLOAT);
  }
  Tensor by_query(Uid uid) {
    fe::graph::Tensor_attributes tensor;
    return graph_->tensor(lay_out(tensor, uid, shape_.heads, shape_.head_dim, query_starts_));
  }
  Tensor by_key(Uid uid) {
    fe::graph::Tensor_attributes tensor;
    return graph_->tensor(lay_out(tensor, uid, shape_.kv_heads, shape_.head_dim, key_starts_));
  }

  // What forward and backward say alike. cuDNN keeps column j of row i where j + left bound > i: our window.
  template <class Attributes>
  Attributes attention() const {
    Attributes attributes;
    attributes.set_attn_scale(scale_).set_padding_mask(true).set_seq_len_q(lengths_).set_seq_len_kv(lengths_);
    attributes.set_max_total_seq_len_q(shape_.tokens).set_max_total_seq_len_kv(shape_.tokens);
    if (shape_.mask.kind != MaskKind::kFull) attributes.set_diagonal_band_right_bound(0);
    if (shape_.mask.kind == MaskKind::kWindow) {
      attributes.set_diagonal_band_left_bound(static_cast<int>(shape_.mask.window));
    }
    return attributes;
  }

  void forward() {
    auto attributes = attention<fe::graph::SDPA_attributes>();
    attributes.set_generate_stats(shape_.statistics);
    const auto [o, statistics] = graph_->sdpa(by_query(kQ), by_key(kK), by_key(kV), attributes);
    lay_out(*o, kO, shape_.heads, shape_.head_dim, query_starts_).set_output(true);
    if (!shape_.statistics) return;
    lay_out_statistics(*statistics).set_output(true);
  }

  void backward() {
    auto attributes = attention<fe::graph::SDPA_backward_attributes>();
    attributes.set_deterministic_algorithm(shape_.deterministic);
    fe::graph::Tensor_attributes statistics;
    const Tensor lse = graph_->tensor(lay_out_statistics(statistics));
    const auto [dq, dk, dv] =
        graph_->sdpa_backward(by_query(kQ), by_key(kK), by_key(kV), by_query(kO), by_query(kDO), lse, attributes);
    lay_out(*dq, kDQ, shape_.heads, shape_.head_dim, query_starts_).set_output(true);
    lay_out(*dk, kDK, shape_.kv_heads, shape_.head_dim, key_starts_).set_output(true);
    lay_out(*dv, kDV, shape_.kv_heads, shape_.head_dim, key_starts_).set_output(true);
  }

  FusedShape shape_;
  std::shared_ptr<fe::graph::Graph> graph_;
  Tensor lengths_, query_starts_, key_starts_, lse_starts_, scale_;
};

class CudnnGraph final : public FusedGraph {
 public:
  CudnnGraph(cudnnHandle_t handle, const FusedShape& shape, int capability)
      : handle_(handle), backward_(shape.backward), graph_(GraphBuilder(shape, capability).build()) {
    SHARDORA_CHECK(graph_->validate());
    SHARDORA_CHECK(graph_->build_operation_graph(handle));
    SHARDORA_CHECK(graph_->create_execution_plans({fe::HeurMode_t::A}));
    SHARDORA_CHECK(graph_->check_support());
    SHARDORA_CHECK(graph_->build_plans());
    SHARDORA_CHECK(graph_->get_workspace_size(workspace_bytes_));
  }

  std::int64_t workspace_bytes() const override { return workspace_bytes_; }

  void run(const FusedArguments& a) override {
    float scale = a.scale;
    const auto in = [](const void* data) { return const_cast<void*>(data); };
    std::unordered_map<std::int64_t, void*> data = {{kQ, in(a.q)},   {kK, in(a.k)}, {kV, in(a.v)},
                                                    {kO, a.o},       {kLse, a.lse}, {kLengths, in(a.lengths)},
                                                    {kScale, &scale}};
    data.insert({{kQueryStarts, in(a.query_starts)}, {kKeyStarts, in(a.key_starts)}, {kLseStarts, in(a.lse_starts)}});
    if (backward_) data.insert({{kDO, in(a.d_o)}, {kDQ, a.dq}, {kDK, a.dk}, {kDV, a.dv}});
    SHARDORA_CHECK(graph_->execute(handle_, data, a.workspace));
  }

 private:
  cudnnHandle_t handle_;  // not owned
  bool backward_;
  std::shared_ptr<fe::graph::Graph> graph_;
  std::int64_t workspace_bytes_ = 0;
};

class Cudnn final : public FusedLibrary {
 public:
  Cudnn(cudaStream_t stream, int capability) : capability_(capability) {
    SHARDORA_CHECK(fe::detail::create_handle(&handle_));
    SHARDORA_CHECK(fe::detail::set_stream(handle_, stream));
  }
  ~Cudnn() override { fe::detail::destroy_handle(handle_); }
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  int version() const override { return cudnn_library().version; }
  std::string description() const override { return "cuDNN " + cudnn_version_text(version()); }
  std::unique_ptr<FusedGraph> make_graph(const FusedShape& shape) override {
    return std::make_unique<CudnnGraph>(handle_, shape, capability_);
  }

 private:
  int capability_;
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace

std::unique_ptr<FusedLibrary> make_fused_library(cudaStream_t stream, const cudaDeviceProp& device,
                                                 std::string& problem) {
  problem = cudnn_library().problem;
  if (!problem.empty()) return nullptr;
  fe::cudnn_dlhandle = cudnn_library().handle;
  return std::make_unique<Cudnn>(stream, device.major * 10 + device.minor);
}

std::string ask_fused_library(const FusedShape& shape, int capability, std::string_view device_json) {
  if (!cudnn_library().problem.empty()) return cudnn_library().problem;
  fe::cudnn_dlhandle = cudnn_library().handle;
  const auto device = std::make_shared<fe::DeviceProperties>();
  SHARDORA_CHECK(device->deserialize({device_json.begin(), device_json.end()}));
  const auto graph = GraphBuilder(shape, capability).build();
  graph->set_device_properties(device);
  fe::error_t status = graph->validate();
  if (status.is_good()) status = graph->build_operation_graph();
  if (status.is_good()) status = graph->create_execution_plans({fe::HeurMode_t::A});
  if (status.is_good()) status = graph->check_support();
  return status.is_good() ? std::string() : status.get_message();
}

}  // namespace cuda
}  // namespace shardora
