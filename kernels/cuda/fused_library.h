// A library's fused attention over packed sequences, without its types: cuDNN's (cudnn_attention.cc), none where this
// program was built without its front end (cudnn_absent.cc), and plain loops under the host emulation.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>
#include <string_view>

#include "kernels/cuda/fused_rules.h"

namespace shardora::cuda {

// Arguments of one run. Everything is packed by token as in kernels/attention.h; elements are bfloat16.
struct FusedArguments {
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  void* o = nullptr;          // written by a forward graph, read by a backward graph
  void* lse = nullptr;        // fp32 [tokens, heads] or, padded, [batch, heads, longest]; likewise
  const void* d_o = nullptr;  // backward, as all below
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;
  const std::int32_t* lengths = nullptr;  // [batch], tokens of each sequence
  // [batch + 1], where each sequence begins, counted in elements of a tensor of that kind (lse_starts: if not padded).
  const std::int64_t *query_starts = nullptr, *key_starts = nullptr, *lse_starts = nullptr;
  float scale = 1.0F;
  void* workspace = nullptr;  // FusedGraph::workspace_bytes()
};

class FusedGraph {
 public:
  virtual ~FusedGraph() = default;
  virtual std::int64_t workspace_bytes() const = 0;
  virtual void run(const FusedArguments& arguments) = 0;  // queued on the library's stream
};

class FusedLibrary {
 public:
  virtual ~FusedLibrary() = default;
  virtual int version() const = 0;              // 91900: 9.19.0
  virtual std::string description() const = 0;  // "cuDNN 9.19.0"
  // Ready to run: compiled where the library compiles. Throws Error(kInternal) with the library's reason if it refuses.
  virtual std::unique_ptr<FusedGraph> make_graph(const FusedShape& shape) = 0;
};

// Null, and why in `problem`, where there is no such library. Work is queued on `stream`.
std::unique_ptr<FusedLibrary> make_fused_library(cudaStream_t stream, const cudaDeviceProp& device,
                                                 std::string& problem);

// What the library itself answers about a graph, down to its check of support, on a device that is described by the
// library's own JSON and need not be here. Empty: it serves it.
std::string ask_fused_library(const FusedShape& shape, int capability, std::string_view device_json);

}  // namespace shardora::cuda
